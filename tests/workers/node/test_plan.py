"""The plan: rows and a time in, steps out."""

from dataclasses import replace

import pytest

from state.queries.node import ReplicaFacts, WantedService
from workers.node.plan import SECOND, Start, Stop, plan

NOW = 1_000 * SECOND
WANTED = WantedService("svc_1", generation=2, revision_id="rev_2", replicas=2, fresh_since=0)


def replica(
    number: int, status: str = "ready", *, age_s: float = 100, revision: str = "rev_2", generation: int = 2
) -> ReplicaFacts:
    created_at = NOW - int(age_s * SECOND)
    return ReplicaFacts(f"rep_{number}", "svc_1", revision, generation, status, None, created_at, None, 100 + number)


def failure(
    number: int, *, ended_s_ago: float, reason: str = "exited", lived_s: float = 0.2, was_ready: bool = False
) -> ReplicaFacts:
    row = replica(number, "failed", age_s=ended_s_ago + lived_s)
    return replace(row, reason=reason, ended_at=NOW - int(ended_s_ago * SECOND), was_ready=was_ready)


def steps(replicas: list[ReplicaFacts], wanted: WantedService = WANTED) -> list[Start | Stop]:
    return plan(wanted, replicas, NOW)


def test_nothing_is_done_when_everything_is_as_wanted() -> None:
    assert steps([replica(1), replica(2)]) == []


def test_what_is_missing_is_started() -> None:
    assert steps([]) == [Start(), Start()]
    assert steps([replica(1, "starting")]) == [Start()]


def test_an_unready_replica_is_not_missing_yet() -> None:
    assert steps([replica(1), replica(2, "unready")]) == []


def test_a_leaving_replica_counts_as_missing_and_is_left_alone() -> None:
    assert steps([replica(1), replica(2, "stopping")]) == [Start()]


def test_a_service_that_wants_none_loses_all() -> None:
    found = steps([replica(1), replica(2, "starting"), replica(3, "stopping")], replace(WANTED, replicas=0))
    assert found == [Stop("rep_1", "not_wanted"), Stop("rep_2", "not_wanted")]


def test_a_replica_that_is_to_be_replaced_leaves_once_another_is_ready_and_the_others_stay() -> None:
    wanted = replace(WANTED, replacing="rep_1")
    assert steps([replica(1), replica(2)], wanted) == [Start()]
    assert steps([replica(1), replica(2), replica(3, "starting", age_s=1)], wanted) == []
    assert steps([replica(1), replica(2), replica(3, age_s=1)], wanted) == [Stop("rep_1", "replaced")]
    assert steps([replica(1, "stopping"), replica(2), replica(3, age_s=1)], wanted) == []
    # Taken back before the new one was ready: the old one is wanted again.
    assert steps([replica(1), replica(2), replica(3, "starting", age_s=1)]) == [Stop("rep_3", "scaled_down")]


def test_the_newest_surplus_goes_first() -> None:
    three = [replica(1, age_s=30), replica(2, age_s=20), replica(3, age_s=10)]
    assert steps(three) == [Stop("rep_3", "scaled_down")]


def test_a_surplus_replica_that_serves_nobody_goes_before_a_ready_one() -> None:
    three = [replica(1, "unready", age_s=30), replica(2, age_s=20), replica(3, age_s=10)]
    assert steps(three) == [Stop("rep_1", "scaled_down")]


def test_an_update_starts_the_new_before_it_stops_the_old() -> None:
    old = [replica(1, revision="rev_1"), replica(2, revision="rev_1")]
    assert steps(old) == [Start(), Start()]
    assert steps([*old, replica(3, "starting"), replica(4, "starting")]) == []


def test_an_update_replaces_one_for_one_as_the_new_become_ready() -> None:
    old = [replica(1, revision="rev_1", age_s=60), replica(2, revision="rev_1", age_s=50)]
    assert steps([*old, replica(3), replica(4, "starting")]) == [Stop("rep_2", "replaced")]
    assert steps([*old, replica(3), replica(4)]) == [Stop("rep_1", "replaced"), Stop("rep_2", "replaced")]


def test_an_update_never_leaves_fewer_ready_than_wanted() -> None:
    old = [replica(1, revision="rev_1"), replica(2, "unready", revision="rev_1")]
    assert steps([*old, replica(3), replica(4, "starting")]) == []


def test_an_old_replica_that_still_starts_is_stopped_at_once() -> None:
    old = [replica(1, revision="rev_1"), replica(2, "starting", revision="rev_1")]
    assert steps([*old, replica(3, "starting"), replica(4, "starting")]) == [Stop("rep_2", "replaced")]


def test_an_update_to_fewer_replicas_lets_the_spare_ones_go_at_once() -> None:
    old = [replica(number, revision="rev_1", age_s=90 - number) for number in (1, 2, 3)]
    found = steps([*old, replica(4, "starting")], replace(WANTED, replicas=1))
    assert found == [Stop("rep_3", "replaced"), Stop("rep_2", "replaced")]


def test_a_restart_replaces_what_was_made_before_it() -> None:
    restart = replace(WANTED, replicas=1, fresh_since=NOW - 5 * SECOND)
    assert steps([replica(1, age_s=100)], restart) == [Start()]
    assert steps([replica(1, age_s=100), replica(2, age_s=1)], restart) == [Stop("rep_1", "replaced")]


def test_replicas_of_an_older_generation_are_kept_when_only_the_size_changed() -> None:
    assert steps([replica(1, generation=1), replica(2, generation=1)]) == []


ONE = replace(WANTED, replicas=1)


def test_the_first_replacement_comes_at_once() -> None:
    assert steps([failure(1, ended_s_ago=0)], ONE) == [Start()]


@pytest.mark.parametrize(("failures", "wait_s"), [(2, 0.5), (3, 1), (4, 2), (5, 4), (8, 30), (40, 30)])
def test_later_replacements_wait_ever_longer(failures: int, wait_s: float) -> None:
    def failed(ended_s_ago: float) -> list[ReplicaFacts]:
        return [failure(number, ended_s_ago=ended_s_ago + 40 * number) for number in range(failures)]

    assert steps(failed(wait_s - 0.01), ONE) == []
    assert steps(failed(wait_s), ONE) == [Start()]


def test_each_wanted_replica_has_a_first_replacement_at_once() -> None:
    assert steps([failure(1, ended_s_ago=0), failure(2, ended_s_ago=0)]) == [Start(), Start()]
    assert steps([failure(number, ended_s_ago=0) for number in (1, 2, 3)]) == []


def test_a_replica_that_became_ready_and_stayed_ends_the_count() -> None:
    earlier = [failure(number, ended_s_ago=200) for number in range(10)]
    assert steps([*earlier, replica(20, age_s=100)]) == [Start()]
    assert steps([*earlier, failure(21, ended_s_ago=0, lived_s=90, was_ready=True)], ONE) == [Start()]


def test_a_service_that_answers_between_its_crashes_never_waits_long() -> None:
    crashes = [failure(number, ended_s_ago=2 + number, was_ready=True) for number in range(10)]
    assert steps(crashes, ONE) == [Start()]
    assert steps([*crashes, failure(20, ended_s_ago=1.9, was_ready=True)], ONE) == []


def test_what_the_platform_ended_is_no_crash() -> None:
    ended = [failure(number, ended_s_ago=0, reason="platform_restarted") for number in range(10)]
    assert steps(ended, ONE) == [Start()]


def test_failures_of_another_wish_do_not_count() -> None:
    others = [replace(failure(number, ended_s_ago=0), generation=1) for number in range(5)]
    others += [replace(failure(number, ended_s_ago=0), revision_id="rev_1") for number in range(5, 9)]
    assert steps(others, ONE) == [Start()]


def test_failures_before_a_restart_do_not_count() -> None:
    before = [failure(number, ended_s_ago=10) for number in range(9)]
    assert steps(before, replace(ONE, fresh_since=NOW - SECOND)) == [Start()]


@pytest.mark.parametrize("reason", ["model_refused", "runtime_missing", "gpu_missing"])
def test_what_is_refused_is_not_tried_for_ever(reason: str) -> None:
    refused = [failure(number, ended_s_ago=600, reason=reason) for number in range(3)]
    assert steps(refused[:2], ONE) == [Start()]
    assert steps(refused, ONE) == []


def test_a_model_that_was_served_before_is_tried_again_after_refusals() -> None:
    refused = [failure(number, ended_s_ago=600, reason="model_refused") for number in range(3)]
    stopped = replace(replica(9, "stopped", age_s=900), ended_at=NOW - 800 * SECOND, was_ready=True)
    assert steps([*refused, stopped], ONE) == [Start()]


def test_a_clock_that_was_set_back_does_not_hold_a_replacement_up() -> None:
    future = [failure(number, ended_s_ago=-3600 - number) for number in range(5)]
    assert steps(future, ONE) == [Start()]
