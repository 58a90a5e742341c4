"""The node as a process: the only sockets, threads and real time of the database."""
