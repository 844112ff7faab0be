"""Acceptance without a cluster: our program against archives made by Debian's tools, judged by real apt and the checker."""
