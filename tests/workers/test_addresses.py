"""The matrix of addresses that webhooks may and may not reach."""

from ipaddress import ip_address

import pytest

from workers.addresses import AddressRefused, Guard, check_addresses, is_allowed, is_public

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::8.8.8.8",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:100.64.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_always_allowed(text: str) -> None:
    address = ip_address(text)
    assert is_public(address)
    assert all(is_allowed(address, reach) for reach in ("public", "loopback", "all"))


@pytest.mark.parametrize("text", LOOPBACK)
def test_this_machine_is_allowed_only_where_that_is_said(text: str) -> None:
    address = ip_address(text)
    assert [is_allowed(address, reach) for reach in ("public", "loopback", "all")] == [False, True, True]


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_on_the_internet_needs_the_operators_word(text: str) -> None:
    address = ip_address(text)
    assert not is_public(address)
    assert [is_allowed(address, reach) for reach in ("public", "loopback", "all")] == [False, False, True]


def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    with pytest.raises(AddressRefused, match=r"evil\.example has the address 10\.0\.0\.1"):
        check_addresses("evil.example", ["8.8.8.8", "10.0.0.1"], Guard("loopback", "PORTSIDE_X"))


def test_a_link_local_address_with_its_zone_is_refused() -> None:
    with pytest.raises(AddressRefused, match="fe80::1"):
        check_addresses("host", ["fe80::1%eth0"], Guard("public", "PORTSIDE_X"))


def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(AddressRefused, match="no address"):
        check_addresses("nowhere.example", [], Guard("all", "PORTSIDE_X"))
