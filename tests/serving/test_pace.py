"""Where predictions run: a small model's on the loop, a slow one's beside it."""

from serving.pace import INLINE_BODY_BYTES, Pace


def test_a_quick_model_runs_on_the_loop_unless_the_body_is_large() -> None:
    pace = Pace(0.0001)
    assert pace.fits_loop(100)
    assert not pace.fits_loop(INLINE_BODY_BYTES + 1)


def test_a_slow_model_runs_beside_it_from_the_first_request_on() -> None:
    assert not Pace(0.002).fits_loop(100)


def test_calls_that_were_held_up_do_not_make_a_slow_model_but_many_slow_ones_do() -> None:
    pace = Pace(0.0001)
    for _ in range(100):
        pace.observe(0.02)
        pace.observe(0.00005)
    assert pace.fits_loop(100)
    for _ in range(100):
        pace.observe(0.002)
    assert not pace.fits_loop(100)


def calls_until_back(pace: Pace) -> int:
    """How many quick calls it takes until the loop is trusted with the next one."""
    count = 0
    while not pace.fits_loop(100):
        pace.observe(0.00005)
        count += 1
    return count


def test_one_call_that_harms_the_loop_is_enough_to_leave_it() -> None:
    pace = Pace(0.0001)
    pace.observe(0.3)
    assert not pace.fits_loop(100)


def test_a_machine_that_stood_still_once_costs_two_requests_the_way_through_a_thread() -> None:
    pace = Pace(0.0001)
    for _ in range(5):
        pace.observe(0.3)
        assert calls_until_back(pace) == 2
        for _ in range(1000):
            pace.observe(0.00005)


def test_a_call_that_is_not_quick_proves_nothing() -> None:
    pace = Pace(0.0001)
    pace.observe(0.3)
    for _ in range(10):
        pace.observe(0.002)
    assert calls_until_back(pace) == 2


def test_a_model_that_harms_the_loop_now_and_then_is_kept_from_it_for_longer() -> None:
    pace = Pace(0.0001)
    pace.observe(0.3)
    for _ in range(900):
        pace.observe(0.00005)
    pace.observe(0.3)
    assert calls_until_back(pace) > 20


def test_two_harmful_calls_in_a_row_make_a_slow_model() -> None:
    pace = Pace(0.0001)
    pace.observe(0.3)
    pace.observe(0.3)
    assert calls_until_back(pace) > 20


def test_a_model_that_became_quick_comes_back_only_when_it_is_clearly_so() -> None:
    pace = Pace(0.002)
    for _ in range(200):
        pace.observe(0.0008)
    assert not pace.fits_loop(100)
    for _ in range(200):
        pace.observe(0.0001)
    assert pace.fits_loop(100)
