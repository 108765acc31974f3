"""The tables of docs/performance.md, from the JSON files of runs. Pure: takes what runs left and gives text; starts
nothing, reads and writes no file. `loadtest/measure` calls it, `loadtest/tests/test_measure.py` holds it.

No number of a run that counts for nothing gets into a cell: the cell says `void`. Where a run could not be made it says
`failed`, and where it left no such figure `-`."""

import math
import re

# The runs whose files each table is made of, by the table's name in docs/performance.md.
TABLES = {
    "numbers": ["node", "wheel", "slow", "storm-half"],
    "load": ["hold", "hold-19000", "hold-most", "storm", "storm-half", "fanout", "push", "slow", "search", "call"],
    "peers": ["peers"],
}
RUNS = list(dict.fromkeys(run for runs in TABLES.values() for run in runs))
SERVERS = ["longwire", "bun", "node-ws", "tomcat"]
PHASES = ["hold", "call", "fanout"]
BAD = ["lost", "duplicated", "out_of_order", "garbled"]


class NoNumber(Exception):
    """There is no number for a cell; what the cell says instead."""


class Result:
    """What came of one run. `data` is its JSON; None if it could not be made."""

    def __init__(self, data=None):
        self.data = data

    @property
    def void(self):
        return bool(self.data and self.data.get("void"))

    def part(self, name):
        if self.data is None:
            raise NoNumber("failed")
        if self.void:
            raise NoNumber("void")
        return self.data.get(name) or {}

    def figure(self, name):
        value = self.part("figures").get(name)
        if value is None:
            raise NoNumber("-")
        return value

    def delay(self, kind, quantile):
        value = self.part("delays").get(kind, {}).get(f"{quantile}_us")
        if value is None:
            raise NoNumber("-")
        return value

    def each(self, name):
        """A figure of every run of `cargo bench --bench node`."""
        values = [run.get(name) for run in self.part("runs")]
        if not values or None in values:
            raise NoNumber("-")
        return values

    def setting(self, name, default):
        """Of how it was run: no measured number, so a void run may tell it."""
        return (self.data or {}).get("settings", {}).get(name, default)


# -- figures as text -------------------------------------------------------------------------------------------------


def count(value):
    return f"{value:,.0f}"


def round_count(value):
    """To three digits: more are noise."""
    size = 10 ** max(0, math.floor(math.log10(value)) - 2) if value >= 1 else 1
    return f"{round(value / size) * size:,.0f}"


def ms(microseconds):
    value = microseconds / 1e3
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def listed(texts):
    texts = list(texts)
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]


def judged(text, reached):
    return f"{text}: {'reached' if reached else 'missed'}"


def cell(make):
    """What `make` gives, or why there is no number."""
    try:
        return make()
    except NoNumber as why:
        return str(why)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "/") for text in row) + " |" for row in lines)


# -- the numbers to reach --------------------------------------------------------------------------------------------


def each_judged(values, show, good):
    """The value of every run; reached only if every one of them is good."""
    return judged(listed(map(show, values)), all(map(good, values)))


def middle_judged(values, show, good):
    """By the run in the middle, with the range beside it: what depends on how the machine was doing just then says little in
    one run. Of fewer than three, every one."""
    if len(values) < 3:
        return each_judged(values, show, good)
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return judged(f"{show(middle)}, the middle one of {len(values)} runs ({show(ordered[0])} to {show(ordered[-1])})", good(middle))


def middle_growth(quiet_us, busy_us):
    """`growth`, by the run in the middle."""
    if len(quiet_us) < 3:
        return growth(quiet_us, busy_us)
    runs = sorted(zip(quiet_us, busy_us), key=lambda run: run[1] / max(run[0], 1))
    ratios = [f"{busy / max(quiet, 1):.1f}" for quiet, busy in runs]
    quiet, busy = runs[len(runs) // 2]
    return growth([quiet], [busy], f", the middle one of {len(runs)} runs: {ratios[0]} to {ratios[-1]}")


def growth(quiet_us, busy_us, remark=""):
    """How p99 grows, against the one target for it. `quiet_us` and `busy_us` have one number a run."""
    ratios = [busy / max(quiet, 1) for quiet, busy in zip(quiet_us, busy_us)]
    pairs = listed(f"{ms(quiet)} to {ms(busy)}" for quiet, busy in zip(quiet_us, busy_us))
    return judged(listed(f"{ratio:.1f}" for ratio in ratios) + f" times ({pairs}{remark})", all(r < 3 for r in ratios))


def grown(result, phase):
    return growth([result.figure("push_p99_quiet_us")], [result.figure(f"push_p99_{phase}_us")])


def stormed_growth(result):
    """By the storm in the middle: one hiccup of the machine in one storm is the p99 of all of them together."""
    quiet, middle, together = (
        result.figure(f"push_p99_{name}_us") for name in ("quiet", "median_storm", "storm")
    )
    storms = result.setting("storms", "3")
    return growth([quiet], [middle], f", the middle one of {storms} storms; {ms(together)} over all of them")


def numbers(results):
    node, wheel = results["node"], results["wheel"]

    def of_floor(name, floor, least):
        ratios = [ours / floors for ours, floors in zip(node.each(name), node.each(floor))]
        return middle_judged(ratios, lambda ratio: f"{ratio:.2f}", lambda ratio: ratio >= least)

    def wheel_ns():
        values = [wheel.figure("file_ns"), wheel.figure("cancel_ns")]
        return each_judged(values, lambda value: f"{value:.0f} ns", lambda value: value < 50)

    def percent(values, most):
        return each_judged(values, lambda value: f"{value:.2f} %", lambda value: value < most)

    def drained():
        return f"exit code 0 after {listed(f'{value:.1f}' for value in node.each('drain_s'))} s: reached"

    rows = [
        ("resident bytes an idle logged-in connection", "at most 450",
         lambda: each_judged(node.each("bytes_a_connection"), count, lambda value: value <= 450)),
        ("deliveries a second of CPU, of the floor's sends", "at least 0.95",
         lambda: of_floor("deliveries_per_cpu_s", "floor_sends_per_cpu_s", 0.95)),
        ("ten pushes queued for a connection in one turn", "one write",
         lambda: "one write (a test of the engine counts ten slices in one): reached"),
        ("connect, upgrade and login a second of CPU, of the floor's accepts", "at least 0.27",
         lambda: of_floor("logins_per_cpu_s", "floor_accepts_per_cpu_s", 0.27)),
        ("10,000 idle connections, pings every 25 s", "under 1 % of a core",
         lambda: percent(node.each("idle_percent"), 1)),
        ("timer wheel with a million entries: file, cancel", "under 50 ns", wheel_ns),
        ("a million entries of it expire spread over a minute", "under 0.5 % of a core",
         lambda: percent([wheel.figure("expire_percent")], 0.5)),
        ("p99 of a push to one user, while a fan-out to 10,000 begins four times a second", "grows by under 3 times",
         lambda: middle_growth(node.each("push_p99_quiet_us"), node.each("push_p99_fanout_us"))),
        ("p99 of a push to the others, while 1 % of the clients do not read", "grows by under 3 times",
         lambda: grown(results["slow"], "slow")),
        ("p99 of a push to those who stayed, while 5,000 reconnect at once", "grows by under 3 times",
         lambda: stormed_growth(results["storm-half"])),
        ("one of 10,000 kicked, the node drained with its 30 s window", "exit code 0", drained),
    ]
    return table(["figure", "target", "measured"], [(name, target, cell(make)) for name, target, make in rows])


# -- the load scenarios ----------------------------------------------------------------------------------------------


def connections(result, meant="10,000"):
    """As it was run; as it was meant, if there was no run."""
    number = result.setting("connections", "")
    return count(int(number)) if number.isdigit() else meant


def held(result, meant):
    reactors = re.search(r"server\.reactors=(\d+)", result.setting("started", ""))
    name = f"`hold`, {connections(result, meant)} connections" + (f" on {reactors[1]} reactors" if reactors else "")
    small = connections(result, meant) == "10,000"

    def memory():
        value = result.figure("resident_bytes_per_connection")
        return judged(count(value), value <= 450)

    def idle():
        value = result.figure("idle_server_cpu_percent")
        # The target is for 10,000; for more of them no number was set.
        return judged(f"{value:.2f} %", value < 1) if small else f"{value:.2f} %"

    return [
        (f"{name}: resident bytes a connection", "at most 450", memory),
        (f"{name}: the kernel's TCP buffers a connection, both ends", "-",
         lambda: count(result.figure("kernel_tcp_bytes_per_connection")) + " bytes"),
        (f"{name}: all logged in after; logins a second of the node's CPU", "-",
         lambda: f"{result.figure('connect_s'):.1f} s; {round_count(result.figure('logins_per_server_cpu_s'))}"),
        (f"{name}: idle, of a core", "under 1 %" if small else "-", idle),
        (f"{name}: missing at the end", "0",
         lambda: judged(count(result.figure("connections_missing_at_end")),
                        result.figure("connections_missing_at_end") == 0)),
    ]


def stormed(result, share):
    dropped = count(round(int(connections(result).replace(",", "")) * share))
    name = f"`storm`, {dropped} of {connections(result)} drop and come back at once"

    def back():
        figures = result.part("figures")
        storms = sorted(int(found[1]) for found in (re.fullmatch(r"storm_(\d+)_back_s", key) for key in figures) if found)
        if not storms:
            raise NoNumber("-")
        return listed(f"{figures[f'storm_{storm}_back_s']:.2f}" for storm in storms) + " s"

    rows = [
        (f"{name}: until all are back", "-", back),
        (f"{name}: p99 of a login, the first connects among them", "-", lambda: ms(result.delay("login", "p99"))),
        (f"{name}: p99 of a push to those who stayed, quiet and meanwhile", "under 3 times",
         lambda: stormed_growth(result)),
    ]
    inside = ["node_push_p99_quiet_us", "node_push_p99_storm_us"]
    if not result.data or all(name in result.data.get("figures", {}) for name in inside):
        rows.append((f"{name}: of it in the node itself, from a push's arrival to its write", "-",
                     lambda: listed(ms(result.figure(figure)) for figure in inside)))
    return rows


def delays(result, kind):
    return f"p50 {ms(result.delay(kind, 'p50'))}, p99 {ms(result.delay(kind, 'p99'))}"


def accounts(results):
    """What was due and what became of it, over all runs that count; and whether all of it is as it should be."""
    due, bad, open_ = 0, dict.fromkeys(BAD, 0), 0
    for result in results:
        if result.data is None or result.void:
            continue
        found = result.data.get("accounts", {})
        due, open_ = due + found.get("due", 0), open_ + found.get("unaccountable", 0)
        bad = {kind: number + found.get(kind, 0) for kind, number in bad.items()}
    if not due:
        raise NoNumber("-")
    wrong = ", ".join(f"{count(number)} {kind.replace('_', ' ')}" for kind, number in bad.items() if number) or "none"
    left = f", {count(open_)} not to be accounted for (their connections were lost, or the API did not take them)" if open_ else ""
    return f"{wrong} of {count(due)} due{left}", not any(bad.values())


def load(results):
    fanout, push, slow, search, call = (results[name] for name in ["fanout", "push", "slow", "search", "call"])

    def knee():
        why = search.setting("knee_because", "")
        return round_count(search.figure("knee_pushes_per_s")) + " a second" + (f" (beyond: {why})" if why else "")

    def closed():
        slow_ones, gone = slow.figure("slow_clients"), slow.figure("slow_clients_closed")
        return judged(f"{count(gone)} of {count(slow_ones)}", gone == slow_ones)

    rows = [
        *held(results["hold"], "10,000"),
        *held(results["hold-19000"], "19,000"),
        *held(results["hold-most"], "the most"),
        *stormed(results["storm"], 0.95),
        *stormed(results["storm-half"], 0.5),
        (f"`fanout`, 2 a second to {connections(fanout)}: delay", "-", lambda: delays(fanout, "broadcast")),
        ("`fanout`: deliveries a second of the node's CPU", "-",
         lambda: round_count(fanout.figure("deliveries_per_server_cpu_s"))),
        (f"`push`, 1,000 a second to {connections(push)} users: delay", "-", lambda: delays(push, "push")),
        (f"`slow`, 1 % of {connections(slow)} do not read: p99 of a push to the others, before and meanwhile",
         "under 3 times", lambda: grown(slow, "slow")),
        ("`slow`: of those who did not read, closed", "all", closed),
        (f"`search`, {connections(search)} users: the most pushes a second with p99 up to 10 ms", "-", knee),
        (f"`call`, 1,000 a second of {connections(call)} clients: delay of the reply", "-",
         lambda: delays(call, "call")),
        ("all of these: messages lost, doubled, out of order or changed", "none", lambda: judged(*accounts(results.values()))),
    ]
    return table(["figure", "target", "measured"], [(name, target, cell(make)) for name, target, make in rows])


# -- peers -----------------------------------------------------------------------------------------------------------


def peers(results):
    """`results` by server and phase; a server that was not installed is not in it, a phase that failed has no file."""
    servers = [server for server in SERVERS if any((server, phase) in results for phase in PHASES)]

    def row(name, phase, make):
        return [name] + [cell(lambda: make(results.get((server, phase), Result()), server)) for server in servers]

    def echo(result, server):
        return delays(result, "call" if server == "longwire" else "echo")

    def of(server):
        return [results[key] for key in results if key[0] == server]

    def bytes_(result, _):
        return count(result.figure("resident_bytes_per_connection"))

    def rate(figure):
        return lambda result, _: round_count(result.figure(figure))

    rows = [
        row("resident bytes a connection", "hold", bytes_),
        row("connects a second of server CPU", "hold", rate("logins_per_server_cpu_s")),
        row("echoes a second of server CPU", "call", rate("calls_per_server_cpu_s")),
        row("echo: delay", "call", echo),
        row("deliveries of a broadcast a second of server CPU", "fanout", rate("deliveries_per_server_cpu_s")),
        row("broadcast: delay", "fanout", lambda result, _: delays(result, "broadcast")),
        ["messages lost, doubled, out of order or changed"] + [cell(lambda: accounts(of(server))[0]) for server in servers],
    ]
    return table(["figure", *servers], rows)


# -- the page --------------------------------------------------------------------------------------------------------


def machine(cores, processor, kernel, system, memory_kib, days):
    """In general terms, and when; `days` are those of the runs."""
    family = []
    for word in re.sub(r"\([^)]*\)", "", processor).split():
        # From the model's number on it is no family any more.
        if re.search(r"\d", word) or word.lower() in ("cpu", "processor", "@"):
            break
        family.append(word)
    version = re.match(r"\d+(\.\d+)*", kernel)
    days = sorted(set(days))
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    return (
        f"{cores} cores ({' '.join(family) or 'unknown'}), Linux {version[0] if version else kernel}, {system}, "
        f"{memory_kib / 1024 / 1024:.0f} GiB of memory; measured {when}."
    )


def replace_section(page, name, body):
    """The page with another text between `<!-- measured: NAME -->` and the next `<!-- end -->`, and nothing else changed."""
    begin, end = f"<!-- measured: {name} -->\n", "<!-- end -->"
    if page.count(begin) != 1:
        raise ValueError(f"the page has to have the line {begin.strip()} once")
    before, rest = page.split(begin)
    if end not in rest or "<!-- measured:" in rest[: rest.index(end)]:
        raise ValueError(f"the section {begin.strip()} has no {end}")
    return before + begin + body.strip("\n") + "\n" + rest[rest.index(end) :]
