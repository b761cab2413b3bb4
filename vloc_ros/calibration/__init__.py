"""Place recognition that calibrates itself: training tuples from the robot's own pose graph, held-out places, model versions."""
