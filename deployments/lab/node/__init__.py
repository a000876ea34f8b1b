"""A kubelet and scheduler of our own: pods of the lab are processes of this machine, on loopback, without root."""
