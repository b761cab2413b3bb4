"""Where a drone is on a geo-referenced map, without satellites (GLVL): tiles that resemble its photo, then a homography to one."""
