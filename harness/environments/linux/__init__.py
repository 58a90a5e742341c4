"""What environments share whose nodes have network namespaces of Linux: rules, probes, links."""
