"""Lumberjack, the protocol of Beats: its frames, a connection, and the server of many."""
