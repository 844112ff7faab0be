"""What people watch the fleet by: alerts and dashboards, defined once per metric. `python3 -m monitoring` writes the files."""
