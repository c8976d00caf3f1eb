"""Ports for the programs of a stack."""

from concurrent.futures import ThreadPoolExecutor

from deploy.stack.child import PORTS, free_port


def test_no_port_is_given_twice_while_whoever_got_it_may_not_listen_yet() -> None:
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda _: free_port(), range(1000)))  # by chance some thirty would be given again
    assert len(set(given)) == len(given)
    assert set(given) <= set(range(*PORTS))
