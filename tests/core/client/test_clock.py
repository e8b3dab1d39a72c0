"""The service's time, whatever the device's clock says."""

from __future__ import annotations

import pytest

from greenroom.core.client.clock import ServiceClock

YEAR = 31_557_600.0
SERVICE = 1_700_000_000.0


def test_until_the_service_has_sent_its_time_the_devices_counts() -> None:
    clock = ServiceClock()
    clock.note(5.0, 1000.0)
    assert not clock.is_known
    assert clock.time == 1000.0


@pytest.mark.parametrize("wrong", [-5 * YEAR, -3600.0, -180.0, 0.0, 180.0, 3600.0, 5 * YEAR])
def test_a_device_that_is_wrong_by_minutes_and_by_years(wrong: float) -> None:
    clock = ServiceClock()
    clock.note(10.0, SERVICE + wrong)
    clock.learn(SERVICE)
    clock.note(110.0, SERVICE + wrong + 100)
    assert clock.time == SERVICE + 100


def test_a_device_that_slept() -> None:
    clock = ServiceClock()
    clock.note(10.0, SERVICE)
    clock.learn(SERVICE)
    clock.note(10.0, SERVICE + 7200)
    assert clock.time == SERVICE + 7200


def test_a_wall_clock_that_is_set_back() -> None:
    clock = ServiceClock()
    clock.note(10.0, SERVICE + 3600)
    clock.learn(SERVICE)
    clock.note(70.0, SERVICE + 60)
    assert clock.time == SERVICE + 60
