"""The pure part of `loadtest/measure`: sections of the page, figures as text, verdicts, and what becomes of void runs.

    python3 -m unittest discover -s loadtest/tests"""

import importlib.machinery
import importlib.util
import pathlib
import sys
import unittest

PLACE = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(PLACE))

import measure_tables as tables  # noqa: E402


def script():
    """The script itself, which has no suffix."""
    loader = importlib.machinery.SourceFileLoader("measure", str(PLACE / "measure"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("measure", loader))
    loader.exec_module(module)
    return module


measure = script()


def run(figures=None, delays=None, void=(), **accounts):
    return tables.Result({
        "settings": {"connections": "10000"},
        "figures": figures or {},
        "delays": delays or {},
        "accounts": accounts,
        "void": list(void),
    })


def node(**changed):
    good = {
        "bytes_a_connection": 319.4, "deliveries_per_cpu_s": 96.0, "floor_sends_per_cpu_s": 100.0,
        "logins_per_cpu_s": 36.0, "floor_accepts_per_cpu_s": 100.0, "idle_percent": 0.52,
        "push_p99_quiet_us": 400.0, "push_p99_fanout_us": 960.0, "drain_s": 30.02,
    }
    return tables.Result({"runs": [good, {**good, **changed}]})


def all_good(**changed):
    quiet = {"push_p99_quiet_us": 500}
    results = {
        "node": node(),
        "wheel": run({"file_ns": 15.2, "cancel_ns": 29.4, "expire_percent": 0.2}),
        "slow": run({**quiet, "push_p99_slow_us": 1400}),
        "storm-half": run({**quiet, "push_p99_storm_us": 9000, "push_p99_median_storm_us": 1250}),
    }
    return {**results, **changed}


def cells(text, figure):
    """The other cells of the one row that begins so."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()]
    found = [row[1:] for row in rows if row[0].startswith(figure)]
    assert len(found) == 1, (figure, found)
    return found[0]


class Sections(unittest.TestCase):
    PAGE = "# A\n\n<!-- measured: one -->\nold\n<!-- end -->\n\nprose\n<!-- measured: two -->\n<!-- end -->\nend\n"

    def test_only_the_section_changes(self):
        page = tables.replace_section(self.PAGE, "one", "| new |\n")
        self.assertEqual(page, self.PAGE.replace("old", "| new |"))
        page = tables.replace_section(page, "two", "second\n\nline")
        self.assertIn("<!-- measured: two -->\nsecond\n\nline\n<!-- end -->\nend\n", page)
        self.assertEqual(tables.replace_section(page, "two", "second\n\nline"), page)

    def test_backslashes_are_text(self):
        self.assertIn("\\1 \\g<0>", tables.replace_section(self.PAGE, "one", "\\1 \\g<0>"))

    def test_a_page_without_a_place_for_it_is_refused(self):
        for page in [
            "nothing",
            self.PAGE + self.PAGE,
            "<!-- measured: one -->\nno end\n",
            "<!-- measured: one -->\n<!-- measured: two -->\n<!-- end -->\n",
        ]:
            with self.assertRaises(ValueError):
                tables.replace_section(page, "one", "x")

    def test_the_page_has_all_sections(self):
        page = measure.PAGE.read_text()
        for name in tables.TABLES:
            tables.replace_section(page, name, "x")


class Figures(unittest.TestCase):
    def test_as_text(self):
        self.assertEqual(tables.count(12345.6), "12,346")
        self.assertEqual([tables.round_count(value) for value in (0, 7.4, 999, 31449, 1234567)],
                         ["0", "7", "999", "31,400", "1,230,000"])
        self.assertEqual([tables.ms(value) for value in (93, 1952, 12_340, 566_271, 2_500_000)],
                         ["0.09 ms", "1.95 ms", "12.3 ms", "566 ms", "2,500 ms"])
        self.assertEqual([tables.listed("a"), tables.listed("ab"), tables.listed("abc")], ["a", "a and b", "a, b and c"])

    def test_a_table(self):
        self.assertEqual(tables.table(["a", "b"], [("c|d", "e")]), "| a | b |\n| --- | --- |\n| c/d | e |")

    def test_the_machine_in_general_terms(self):
        line = tables.machine(2, "AMD EPYC 9B14 96-Core Processor", "6.18.44-fc-v6", "Debian 12", 25165824,
                              ["2026-11-26", "2026-11-26"])
        self.assertEqual(line, "2 cores (AMD EPYC), Linux 6.18.44, Debian 12, 24 GiB of memory; measured on 2026-11-26.")
        line = tables.machine(8, "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "6.1.0", "Debian 12", 16e6,
                              ["2026-11-27", "2026-11-26"])
        self.assertIn("8 cores (Intel Xeon Platinum)", line)
        self.assertIn("from 2026-11-26 to 2026-11-27", line)


class Numbers(unittest.TestCase):
    def test_each_has_its_target_and_a_verdict(self):
        text = tables.numbers(all_good())
        self.assertEqual(cells(text, "resident bytes"), ["at most 450", "319 and 319: reached"])
        self.assertEqual(cells(text, "deliveries"), ["at least 0.95", "0.96 and 0.96: reached"])
        self.assertEqual(cells(text, "connect, upgrade"), ["at least 0.27", "0.36 and 0.36: reached"])
        self.assertEqual(cells(text, "timer wheel"), ["under 50 ns", "15 ns and 29 ns: reached"])
        self.assertEqual(cells(text, "a million"), ["under 0.5 % of a core", "0.20 %: reached"])
        self.assertEqual(cells(text, "p99 of a push to one user")[1],
                         "2.4 and 2.4 times (0.40 ms to 0.96 ms and 0.40 ms to 0.96 ms): reached")
        self.assertEqual(cells(text, "p99 of a push to the others")[1], "2.8 times (0.50 ms to 1.40 ms): reached")
        self.assertEqual(cells(text, "p99 of a push to those who stayed")[1], "2.5 times (0.50 ms to 1.25 ms, the middle one of 3 storms; "
                         "9.00 ms over all of them): reached")
        self.assertEqual(cells(text, "one of 10,000 kicked")[1], "exit code 0 after 30.0 and 30.0 s: reached")
        self.assertNotIn("missed", text)

    def test_one_run_that_misses_is_a_miss(self):
        text = tables.numbers(all_good(node=node(
            bytes_a_connection=450.6, deliveries_per_cpu_s=94.9, logins_per_cpu_s=26.9, idle_percent=1.0,
            push_p99_fanout_us=1200.0)))
        for figure in ["resident bytes", "deliveries", "connect, upgrade", "10,000 idle", "p99 of a push to one user"]:
            self.assertRegex(cells(text, figure)[1], ": missed$")

    def test_of_three_runs_the_one_in_the_middle_judges_what_is_speed(self):
        two = node(deliveries_per_cpu_s=50.0, push_p99_fanout_us=8000.0).data["runs"]
        three = tables.Result({"runs": [*two, {**two[0], "deliveries_per_cpu_s": 99.0, "push_p99_fanout_us": 400.0}]})
        text = tables.numbers(all_good(node=three))
        self.assertEqual(cells(text, "deliveries")[1], "0.96, the middle one of 3 runs (0.50 to 0.99): reached")
        self.assertEqual(cells(text, "p99 of a push to one user")[1],
                         "2.4 times (0.40 ms to 0.96 ms, the middle one of 3 runs: 1.0 to 20.0): reached")
        two[1]["bytes_a_connection"] = 451
        self.assertRegex(cells(tables.numbers(all_good(node=three)), "resident bytes")[1], ": missed$")

    def test_three_times_is_not_under_three_times(self):
        slow = run({"push_p99_quiet_us": 500, "push_p99_slow_us": 1500})
        self.assertRegex(cells(tables.numbers(all_good(slow=slow)), "p99 of a push to the others")[1], "3.0 .*: missed$")

    def test_no_number_of_a_void_run_is_quoted(self):
        void = run({"push_p99_quiet_us": 777, "push_p99_slow_us": 999}, void=["busy"])
        text = tables.numbers(all_good(slow=void))
        self.assertEqual(cells(text, "p99 of a push to the others")[1], "void")
        self.assertNotIn("0.78", text)

    def test_failed_runs_and_missing_figures(self):
        text = tables.numbers(all_good(node=tables.Result(), wheel=run({"file_ns": 15})))
        self.assertEqual(cells(text, "resident bytes")[1], "failed")
        self.assertEqual(cells(text, "timer wheel")[1], "-")


class Load(unittest.TestCase):
    def results(self, **changed):
        return {**{name: run() for name in tables.TABLES["load"]}, **changed}

    def test_a_storm(self):
        storm = run({"push_p99_quiet_us": 573, "push_p99_storm_us": 9400, "push_p99_median_storm_us": 2397, "storm_1_back_s": 0.569, "storm_2_back_s": 0.45,
                     "storm_back_mean_s": 9, "node_push_p99_quiet_us": 100, "node_push_p99_storm_us": 1000},
                    {"login": {"p99_us": 566_271}})
        text = tables.load(self.results(storm=storm))
        name = "`storm`, 9,500 of 10,000 drop and come back at once: "
        self.assertEqual(cells(text, name + "until")[1], "0.57 and 0.45 s")
        self.assertEqual(cells(text, name + "p99 of a login")[1], "566 ms")
        self.assertEqual(cells(text, name + "p99 of a push")[1], "4.2 times (0.57 ms to 2.40 ms, the middle one of 3 storms; 9.40 ms over all of them): missed")
        self.assertEqual(cells(text, name + "of it in the node")[1], "0.10 ms and 1.00 ms")

    def test_an_empty_run_gives_dashes_a_void_one_void_and_none_failed(self):
        for result, says in [(run(), "-"), (run({"storm_1_back_s": 3.21}, void=["late"]), "void"), (tables.Result(), "failed")]:
            rows = tables.load({name: result for name in tables.TABLES["load"]}).splitlines()[2:-1]
            self.assertEqual({row.strip("| ").split(" | ")[2] for row in rows}, {says})

    def test_the_target_of_idle_is_for_ten_thousand(self):
        most = tables.Result({"settings": {"connections": "100000", "started": "x=1 server.reactors=7"},
                              "figures": {"idle_server_cpu_percent": 3.2}})
        text = tables.load(self.results(**{
            "hold": run({"idle_server_cpu_percent": 1.2}), "hold-19000": tables.Result(), "hold-most": most}))
        self.assertEqual(cells(text, "`hold`, 10,000 connections: idle"), ["under 1 %", "1.20 %: missed"])
        self.assertEqual(cells(text, "`hold`, 100,000 connections on 7 reactors: idle"), ["-", "3.20 %"])

    def test_accounts_are_of_runs_that_count(self):
        text = tables.load(self.results(push=run(due=100), call=run(void=["busy"], due=7, lost=5), fanout=tables.Result()))
        self.assertEqual(cells(text, "all of these")[1], "none of 100 due: reached")
        text = tables.load(self.results(push=run(due=1000, lost=2, out_of_order=1), slow=run(due=1000, unaccountable=470)))
        self.assertEqual(
            cells(text, "all of these")[1],
            "2 lost, 1 out of order of 2,000 due, 470 not to be accounted for (their connections were lost, or the API did not take them): missed")


class Peers(unittest.TestCase):
    def test_servers_that_were_not_there_have_no_column(self):
        echo = {"p50_us": 100, "p99_us": 200}
        text = tables.peers({
            ("longwire", "hold"): run({"resident_bytes_per_connection": 368.2}),
            ("longwire", "call"): run({}, {"call": echo}, due=10),
            ("bun", "hold"): run({"resident_bytes_per_connection": 900}, void=["busy"]),
            ("bun", "call"): run({}, {"echo": echo}, due=10, lost=1),
        })
        self.assertIn("| figure | longwire | bun |", text)
        self.assertEqual(cells(text, "resident bytes"), ["368", "void"])
        self.assertEqual(cells(text, "echo: delay"), ["p50 0.10 ms, p99 0.20 ms"] * 2)
        self.assertEqual(cells(text, "broadcast: delay"), ["failed", "failed"])
        self.assertEqual(cells(text, "messages lost"), ["none of 10 due", "1 lost of 10 due"])


class Runs(unittest.TestCase):
    def test_a_void_run_is_made_again_up_to_twice(self):
        for voids, made in [(0, 1), (1, 2), (2, 3), (9, 3)]:
            results = [run(void=["busy"]) for _ in range(voids)] + [run()]
            attempts, aside = [], []

            def attempt():
                attempts.append(results[len(attempts)])
                return attempts[-1]

            last = measure.settled(attempt, aside.append)
            self.assertEqual(len(attempts), made)
            self.assertEqual(last.void, voids > 2)
            self.assertEqual(aside, list(range(1, made)))

    def test_a_failed_run_is_not_made_again(self):
        attempts = []
        measure.settled(lambda: attempts.append(1) or tables.Result(), self.fail)
        self.assertEqual(len(attempts), 1)

    def test_outcomes(self):
        self.assertFalse(measure.outcome(0, {"void": []}).void)
        self.assertTrue(measure.outcome(3, {"void": []}).void, "the exit code says so")
        self.assertTrue(measure.outcome(1, {"void": ["busy"]}).void, "lost messages come before void in the exit code")
        self.assertFalse(measure.outcome(1, {"void": []}).void)
        for code, data in [(2, {}), (101, {}), (-9, {}), (0, None), (3, None)]:
            self.assertIsNone(measure.outcome(code, data).data)

    def test_as_many_as_the_machine_carries(self):
        plenty = 64 << 30
        most = measure.most_connections
        self.assertEqual(most(100_000, 20_000, 2_000_000, plenty, 28_232, 2), (100_000, 7, 5))
        self.assertEqual(most(100_000, 1_048_576, 2_000_000, plenty, 28_232, 2), (100_000, 2, 5))
        self.assertEqual(most(10_000, 20_000, 2_000_000, plenty, 28_232, 4), (10_000, 4, 1))
        self.assertEqual(most(100_000, 20_000, 90_000, plenty, 28_232, 2)[0], 40_000)
        self.assertEqual(most(100_000, 20_000, 2_000_000, 1 << 30, 28_232, 2)[0], (512 << 20) // (14 << 10))
        self.assertEqual(most(100_000, 20_000, 2_000_000, 1 << 20, 28_232, 2), (0, 2, 1))

    def test_names(self):
        self.assertEqual(measure.wanted("storm,peers"), ["storm", "peers"])
        self.assertEqual(measure.wanted("numbers"), tables.TABLES["numbers"])
        with self.assertRaises(measure.argparse.ArgumentTypeError):
            measure.wanted("storms")


if __name__ == "__main__":
    unittest.main()
