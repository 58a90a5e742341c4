"""One plug-in of each kind, as small as it can be; docs/plug-in.md tells of them."""
