"""Cores as a request may write them."""

import pytest
from pydantic import ValidationError

from api.schemas.services import ResourcesBody


@pytest.mark.parametrize(("given", "cores"), [(2, 2.0), (0.5, 0.5), (1 / 3, 1 / 3), ("500m", 0.5), ("0.25", 0.25)])
def test_cores_are_any_number_in_the_range(given: float | str, cores: float) -> None:
    assert ResourcesBody.model_validate({"cpu": given}).cpu == cores


@pytest.mark.parametrize("given", [0, 0.001, 1025, 10**400, "0m", "2000000m"])
def test_cores_out_of_the_range_are_told_the_range(given: float | str) -> None:
    with pytest.raises(ValidationError, match="between 10m and 1024 cores"):
        ResourcesBody.model_validate({"cpu": given})


@pytest.mark.parametrize("given", ["", "many", "-1", "1e2", "5.0000000001", [1]])
def test_what_is_no_quantity_is_told_how_to_write_one(given: object) -> None:
    with pytest.raises(ValidationError, match="such as 2"):
        ResourcesBody.model_validate({"cpu": given})
