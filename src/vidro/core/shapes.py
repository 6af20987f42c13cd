"""The legend of shapes. Every tensor in a public signature carries one of these letters.

| letter | meaning                             | letter | meaning                     |
|--------|-------------------------------------|--------|-----------------------------|
| B      | batch: sequences side by side       | H      | query heads                 |
| T      | tokens now (the ones fed this time) | K      | key/value heads             |
| S      | tokens seen (cached ones included)  | E      | width of one head           |
| D      | width of the model                  | F      | width of the feed-forward   |
| L      | layers                              | V      | vocabulary                  |

``Float[Tensor, "B T D"]`` is a promise that jaxtyping and beartype check while the tests run and that costs
nothing otherwise. No torch here: the annotation names the array type itself.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, Shaped, UInt8

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt8"]
