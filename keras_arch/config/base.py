"""What all sections of a hub config are made of."""

from typing import Annotated

import pydantic

Positive = Annotated[int, pydantic.Field(ge=1)]
Rate = Annotated[float, pydantic.Field(gt=0)]
Fraction = Annotated[float, pydantic.Field(ge=0, lt=1)]
NotNegative = Annotated[float, pydantic.Field(ge=0)]


class Section(pydantic.BaseModel):
    """A part of a config: keys that it does not know are refused."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=False, allow_inf_nan=False
    )
