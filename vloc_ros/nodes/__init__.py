"""The nodes: each declares, builds, converts and publishes; what computes is elsewhere."""

from vloc_ros.blas import let_threads_sleep

let_threads_sleep()  # here, because the modules of the nodes load NumPy
