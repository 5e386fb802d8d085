"""Files that grow: found, followed through rotation, and read on after a restart."""
