"""Make the shop's data: the one "database" that both services read at start.

Everything is arithmetic on an index, so that every run, every machine and every
test sees the same shop. The odd values are the point of it: names with ``&`` and
umlauts, prices without cents, accounts above 2**53, closed customers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PRODUCTS = 200
CUSTOMERS = 60
ORDERS = 420
FIRST_ORDER = 1001

_THINGS = ("Kettle", "Lamp", "Rug", "Teapot", "Chair", "Clock", "Basket", "Vase", "Knife", "Mirror")
_KINDS = ("Oak", "Café", "Black & White", "Müller", "Copper", "Size <M>", "São Paulo", "Linen", "Café au lait", "Tin")
_CATEGORIES = ("kitchen", "living", "garden", "office")
_PEOPLE = (
    "José Müller",
    "Ann Smith",
    "Łukasz Nowak",
    "María Núñez",
    "小林 さくら",
    "Bob O'Neil",
    "Zoë Adams",
    "John Doe",
)


def _product(number: int) -> dict[str, Any]:
    cents = 250 + (number * 1_237) % 9_000
    if number % 4 == 0:
        cents -= cents % 100
    return {
        "id": number,
        "sku": f"SKU-{number:05d}",
        "name": f"{_KINDS[number % 10]} {_THINGS[(number // 10) % 10]}",
        "category": _CATEGORIES[number % 4],
        "price": cents / 100,
        # Every fifth product is reduced: the ones on which the new service counts wrongly.
        "discount": 15 if number % 5 == 0 else 0,
        "weight_kg": round(0.25 * (1 + number % 8), 2),
        "rating": round(3 + (number % 5) / 2, 1),
        "tags": [] if number % 3 == 0 else ["new", "eco"][: number % 3],
        "stock": (number * 7) % 40,
        # The search boost that somebody once set by hand: pinned to the top, or buried.
        "boost": {0: 1e16, 1: 0.00001}.get(number % 10, 1.0),
        "description": f"{_KINDS[(number + 3) % 10]} {_THINGS[(number + 5) % 10].lower()}, made by hand. " * 2,
    }


def _customer(number: int) -> dict[str, Any]:
    # Account numbers come from the bank as 17 digits, above 2**53: no float64 holds them all.
    preferences = {"newsletter": number % 2 == 0, "currency": "EUR", "account": 90_071_992_547_409_931 + number}
    return {
        "id": number,
        "name": _PEOPLE[number % len(_PEOPLE)],
        "country": ("DE", "US", "PL", "ES", "JP", "IE", "NL", "GB")[number % 8],
        "closed": number % 12 == 0,
        "preferences": preferences,
    }


def _order(index: int) -> dict[str, Any]:
    number = FIRST_ORDER + index
    return {
        "id": number,
        "customer_id": 1 + (index * 7) % CUSTOMERS,
        # 2026-03-01 08:00 UTC and later; every second order was stored with microseconds.
        "placed_at": 1_772_352_000 + index * 4_321 + (0.123400 if index % 2 else 0),
        "note": "" if index % 3 else "Leave it at the door",
        "lines": [
            {"product_id": 1 + (index * 3 + step * 11) % PRODUCTS, "quantity": 1 + (index + step) % 4}
            for step in range(1 + index % 3)
        ],
    }


def shop() -> dict[str, Any]:
    """Build the whole shop."""
    return {
        "products": [_product(number) for number in range(1, PRODUCTS + 1)],
        "customers": [_customer(number) for number in range(1, CUSTOMERS + 1)],
        "orders": [_order(index) for index in range(ORDERS)],
    }


def write(path: Path) -> None:
    """Write the shop as JSON, for ``--data`` of both services."""
    path.write_text(json.dumps(shop()), encoding="utf-8")
