"""The alerts as Prometheus reads them, and their block in the chart's values."""

from __future__ import annotations

from collections.abc import Sequence

from .alerts import ALERTS, DASHBOARDS, RUNBOOKS, Alert

HEAD = "# Written by `python3 -m monitoring` from monitoring/alerts.py.\n"


def plain(alerts: Sequence[Alert] = ALERTS) -> str:
    """For a Prometheus without the operator: with the chart's default values."""
    return filled(rules(alerts), defaults(), RUNBOOKS, DASHBOARDS)


def filled(text: str, alerts: dict[str, dict], runbooks: str, dashboards: str) -> str:
    """What the chart does, see templates/monitoring-rules.yaml."""
    for key, values in alerts.items():
        for name, value in values.items():
            text = text.replace(f"${{{key}.{name}}}", str(value))
    return text.replace("${runbookUrl}", runbooks).replace("${dashboardUrl}", dashboards)


def rules(alerts: Sequence[Alert] = ALERTS) -> str:
    """With `${alert.name}` where values of the chart belong."""
    lines = [HEAD + "groups:", "  - name: mirrorfleet", "    rules:"]
    for alert in alerts:
        lines += rule(alert)
    return "\n".join(lines) + "\n"


def rule(alert: Alert) -> list[str]:
    expression = alert.expression
    for name in alert.thresholds:
        expression = expression.replace(f"${{{name}}}", f"${{{alert.key}.{name}}}")
    variables = "&".join(f"var-{label}={{{{ $labels.{label} }}}}" for label in alert.variables)
    dashboard = f"${{dashboardUrl}}/d/{alert.dashboard}" + (f"?{variables}" if variables else "")
    return [
        f"      - alert: {alert.name}",
        "        expr: |-",
        *(f"          {line}" for line in expression.splitlines()),
        f'        for: "${{{alert.key}.for}}"',
        "        labels:",
        f'          severity: "${{{alert.key}.severity}}"',
        "        annotations:",
        f"          summary: {quoted(alert.summary)}",
        f"          description: {quoted(alert.description)}",
        f"          runbook_url: {quoted('${runbookUrl}#' + alert.name.lower())}",
        f"          dashboard_url: {quoted(dashboard)}",
    ]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def defaults() -> dict[str, dict]:
    return {
        alert.key: {
            "enabled": True, "for": alert.lasts, "severity": alert.severity,
            **{name: number(threshold.value) for name, threshold in alert.thresholds.items()},
        }
        for alert in ALERTS
    }  # fmt: skip


def values_block(indent: int) -> str:
    """The lines below `alerts:` in values.yaml."""
    lines = []
    for alert in ALERTS:
        inside = ", ".join(f"{name}: {str(value).lower() if value is True else value}" for name, value in defaults()[alert.key].items())
        lines += [f"# -- {alert.comment}", f"{alert.key}: {{{inside}}}"]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def schema() -> dict:
    """The schema of that block."""
    properties = {}
    for alert in ALERTS:
        own = {
            "enabled": {"type": "boolean", "description": "Whether the alert is made."},
            "for": {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$", "description": "How long it must hold before it fires."},
            "severity": {"type": "string", "minLength": 1, "description": "Label by which it is routed."},
        }
        for name, threshold in alert.thresholds.items():
            own[name] = {"type": "number", "minimum": threshold.lowest, "description": f"`{name}` of the text above."}
        properties[alert.key] = {"type": "object", "additionalProperties": False, "properties": own, "description": alert.comment}
    return {"type": "object", "additionalProperties": False, "properties": properties}
