"""The installation and its switches, as an operator sees them."""

import re
import sys
import webbrowser
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.output import Output
from cli.words import age_in_words, off_in_lines

SWITCHES = "/api/v1/system/switches"
DURATION = re.compile(r"(\d{1,9})([smhd])")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
GIB = 1024**3


def show_switches(platform: Platform, output: Output) -> None:
    """All switches."""
    switches = list(platform.get(SWITCHES)["items"])
    if output.is_for_scripts:
        output.document(switches)
        return
    output.table(("switch", "is", "since", "until", "by", "why", "while it is off"), [_row(each) for each in switches])


def _row(switch: Document) -> tuple[str, ...]:
    if not switch["off"]:
        return (str(switch["name"]), "on", "", "", "", "", str(switch["while_off"]))
    until = switch["expires_at"] or "switched on"
    since, why = age_in_words(switch["since"]), str(switch["reason"])
    return (str(switch["name"]), "off", since, str(until), str(switch["switched_by"]), why, str(switch["while_off"]))


def switch_off(platform: Platform, name: str, reason: str, duration: str | None, output: Output) -> None:
    """Switch off, or say anew why and for how long. Raises `CommandFailed`."""
    body: dict[str, object] = {"reason": reason}
    if duration is not None:
        body["expires_in_s"] = seconds(duration)
    switch = platform.call("PUT", f"{SWITCHES}/{quote(name, safe='')}", body).document
    if output.is_for_scripts:
        output.document(switch)
    until = switch["expires_at"] or f"`portside switch on {name}`"
    output.say(f"{name} off until {until}: {switch['while_off']}.")


def switch_on(platform: Platform, name: str, output: Output) -> None:
    """Switch on again. Raises `CommandFailed`."""
    platform.call("DELETE", f"{SWITCHES}/{quote(name, safe='')}")
    output.say(f"{name} on.")


def seconds(duration: str, option: str = "--for") -> int:
    """`90s`, `30m`, `2h`, `1d` in seconds. Raises `CommandFailed`."""
    found = DURATION.fullmatch(duration.strip())
    if found is None:
        raise CommandFailed(
            f"{option} takes a duration such as 90s, 30m, 2h or 1d, not {duration!r}.", exit_status=Exit.USAGE
        )
    return int(found.group(1)) * UNIT_S[found.group(2)]


def open_platform(platform: Platform, output: Output) -> None:
    """The console's address where there is one, else that of the API's description. Raises `CommandFailed`."""
    at_root = platform.find("/")
    has_console = at_root is not None and at_root.get("status") != "alive"  # what the API says there by itself
    url = platform.url if has_console else f"{platform.url}/api/v1/openapi.json"
    if not has_console:
        platform.get("/api/v1/openapi.json")
    output.data(url)
    if sys.stdout.isatty():
        webbrowser.open(url)


def show_system(platform: Platform, output: Output) -> None:
    """The whole installation."""
    system = platform.get("/api/v1/system")
    if output.is_for_scripts:
        output.document(system)
        return
    schema, routes = system["schema_revision"], system["routing_version"]
    output.data(
        f"Portside {system['version']} at {platform.url}: {system['database']} schema {schema}, routes {routes}"
    )
    if disk := system["disk"]:
        free, total = disk["free_bytes"] / GIB, disk["total_bytes"] / GIB
        output.data(f"disk of the data folder: {free:.1f} of {total:.1f} GiB free\n")
    lanes = [
        (str(name), str(lane["waiting"]), f"{lane['oldest_s']:.1f} s", f"{lane['working']} of {lane['slots']}")
        for name, lane in system["lanes"].items()
    ]
    output.table(("lane", "waiting", "oldest", "busy"), lanes)
    for line in off_in_lines(system):
        output.data(line)
    _show_processes(system, output)


def _show_processes(system: Document, output: Output) -> None:
    rows = [
        (
            str(each["role"]),
            str(each["id"]),
            f"{age_in_words(each['seen_at'])} ago" if each["alive"] else f"lost {age_in_words(each['seen_at'])} ago",
            str(each["version"]),
            age_in_words(each["started_at"]),
            ", ".join(f"{p['in_use']} of {p['size']} {name}" for name, p in each["details"].get("pools", {}).items()),
        )
        for each in system["processes"] or ()
    ]
    if rows:
        output.data("")
        output.table(("process", "id", "seen", "version", "up for", "connections"), rows)
    leases = [(str(lease["name"]), str(lease["holder"] or "nobody")) for lease in system["leases"] or ()]
    if leases:
        output.data("")
        output.table(("caretaker", "active in"), leases)
