"""SE(3), the rectified stereo camera, and pose estimation from matched points."""
