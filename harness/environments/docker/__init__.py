"""The environment `docker`: a container per node on a private network, faults from outside the container."""
