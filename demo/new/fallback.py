"""Stand in for the Go shop where there is no Go: the same answers, byte for byte.

A second Python service whose encoder writes as Go's encoding/json does. The
comments on what differs from the legacy, and why, are in the Go files.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import socket
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

VERSION = "shop-new/0.9"

PRODUCTS: dict[int, dict[str, Any]] = {}
CUSTOMERS: dict[int, dict[str, Any]] = {}
ORDERS: dict[int, dict[str, Any]] = {}
PLACED = itertools.count(900_001)


class PyFloat(float):
    """A float that the Go shop writes as Python does (``pyFloat`` in encode.go)."""


def _float(value: float) -> str:
    if isinstance(value, PyFloat):
        return float.__repr__(value)
    # Shortest digits without an exponent, as encoding/json from 1e-6 to 1e21; our numbers stay inside.
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def encode(value: Any, *, html: bool) -> str:
    """Write a value as Go's encoding/json does; dicts are structs, in the order given."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(k, html=html)}:{encode(v, html=html)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(encode(item, html=html) for item in value) + "]"
    if isinstance(value, float):
        return _float(value)
    text = json.dumps(value, ensure_ascii=False)
    if html and isinstance(value, str):
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


def write_json(status: int, value: Any) -> Response:
    """Answer as json.NewEncoder does: a newline at the end, HTML escapes."""
    return Response(encode(value, html=True) + "\n", status, media_type="application/json")


def write_like_legacy(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    """Answer as the handlers that took care do."""
    return Response(encode(value, html=False), status, headers, media_type="application/json")


def _missing(what: str, number: int) -> dict[str, str]:
    return {"detail": f"{what} {number} not found"}


async def list_products(request: Request) -> Response:
    category = request.query_params.get("category")
    try:
        page = int(request.query_params.get("page", "1"))
    except ValueError:
        return write_json(400, {"detail": "page is not a number"})
    rows = [p for p in PRODUCTS.values() if category in (None, "", p["category"])]
    items = [
        {"id": p["id"], "name": p["name"], "price": p["price"], "tags": p["tags"]}
        for p in rows[(page - 1) * 10 : page * 10]
    ]
    return write_json(200, {"page": page, "total": len(rows), "items": items or None})


async def get_product(request: Request) -> Response:
    number = request.path_params["id"]
    p = PRODUCTS.get(number)
    if p is None:
        return write_like_legacy(404, _missing("product", number))
    body = {key: p[key] for key in ("id", "sku", "name", "category")}
    body |= {key: PyFloat(p[key]) for key in ("price", "weight_kg", "rating")}
    return write_like_legacy(
        200, body | {"tags": p["tags"], "in_stock": p["stock"] > 0, "description": p["description"]}
    )


async def get_price(request: Request) -> Response:
    number = request.path_params["id"]
    p = PRODUCTS.get(number)
    if p is None:
        return write_like_legacy(404, _missing("product", number))
    final = math.floor(p["price"] * (100 - p["discount"])) / 100 if p["discount"] else p["price"]
    return write_like_legacy(
        200,
        {"id": number, "price": PyFloat(p["price"]), "discount": p["discount"], "final": PyFloat(final)},
    )


async def get_stock(request: Request) -> Response:
    wanted = [int(text) for text in request.query_params.get("ids", "").split(",") if text.isdigit()]
    rows = [{"id": number, "available": PRODUCTS[number]["stock"]} for number in wanted if number in PRODUCTS]
    return write_like_legacy(200, {"stock": rows})


async def get_order(request: Request) -> Response:
    number = request.path_params["id"]
    o = ORDERS.get(number)
    if o is None:
        return write_json(404, _missing("order", number))
    placed = datetime.fromtimestamp(o["placed_at"], UTC)
    fraction = f".{placed.microsecond:06d}".rstrip("0") if placed.microsecond else ""
    body = {"id": number, "customer_id": o["customer_id"], "placed_at": f"{placed:%Y-%m-%dT%H:%M:%S}{fraction}Z"}
    if o["note"]:
        body["note"] = o["note"]
    lines = [{**line, "price": PRODUCTS[line["product_id"]]["price"]} for line in o["lines"]]
    return write_json(200, {**body, "lines": lines})


async def create_order(request: Request) -> Response:
    order = await request.json()
    number = next(PLACED)
    body = {"id": number, "lines": len(order.get("lines", []))}
    return write_like_legacy(201, body, {"Location": f"/api/orders/{number}"})


async def get_customer(request: Request) -> Response:
    number = request.path_params["id"]
    c = CUSTOMERS.get(number)
    if c is None or c["closed"]:
        return write_like_legacy(404, _missing("customer", number))
    preferences = {
        key: float(value) if type(value) is int else value for key, value in sorted(c["preferences"].items())
    }
    return write_like_legacy(200, {**{key: c[key] for key in ("id", "name", "country")}, "preferences": preferences})


async def search(request: Request) -> Response:
    query = (await request.json()).get("q", "") if request.method == "POST" else request.query_params.get("q", "")
    hits = [
        {"id": p["id"], "name": p["name"], "score": p["name"].lower().count(query.lower()) * p["boost"]}
        for p in PRODUCTS.values()
        if query and query.lower() in p["name"].lower()
    ]
    hits.sort(key=lambda hit: -hit["score"])
    return write_json(200, {"q": query, "hits": hits[:8]})


async def report(request: Request) -> Response:
    rows = []
    for o in ORDERS.values():
        c, products = CUSTOMERS[o["customer_id"]], [PRODUCTS[line["product_id"]] for line in o["lines"]]
        quantities = [line["quantity"] for line in o["lines"]]
        row = {"order": o["id"], "customer": c["name"], "country": c["country"], "items": sum(quantities)}
        row |= {"note": o["note"], "products": [p["name"] for p in products]}
        total = sum(p["price"] * quantity for p, quantity in zip(products, quantities, strict=True))
        rows.append(row | {"total": PyFloat(round(total, 2))})
    body = encode({"rows": rows, "count": len(rows)}, html=False).encode()
    headers = {"Vary": "Accept-Encoding"}
    if "download" in request.query_params:
        headers["Content-Disposition"] = "attachment; filename=report.json"
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 6)
        headers["Content-Encoding"] = "gzip"
    return Response(body, 200, headers, media_type="application/json")


async def health(request: Request) -> Response:
    return write_like_legacy(200, {"status": "ok"})


app = Starlette(
    routes=[
        Route("/api/products", list_products),
        Route("/api/products/{id:int}", get_product),
        Route("/api/prices/{id:int}", get_price),
        Route("/api/stock", get_stock),
        Route("/api/orders/{id:int}", get_order),
        Route("/api/orders", create_order, methods=["POST"]),
        Route("/api/customers/{id:int}", get_customer),
        Route("/api/search", search, methods=["GET", "POST"]),
        Route("/api/report", report),
        Route("/health", health),
    ]
)


def main() -> None:
    """Serve until SIGTERM; the first line on stdout names the address."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as file:
        shop = json.load(file)
    for table, rows in ((PRODUCTS, "products"), (CUSTOMERS, "customers"), (ORDERS, "orders")):
        table.update((row["id"], row) for row in shop[rows])
    host, port = options.listen.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=512)
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning", headers=[("X-App-Version", VERSION)])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
