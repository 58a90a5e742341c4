"""The environment `netns`: processes of this host, a network namespace each, on bridges in a namespace of the run."""
