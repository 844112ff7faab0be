"""Regions that follow each other, under clients of all kinds and an upstream that publishes all the time; what may break, and
what people are told of it."""
