"""The shop's API as it grew over the years: Starlette on uvicorn, data in memory.

This is the *legacy* side of the demo, written as such services are written, not
in the house style. JSON comes from whatever was at hand: mostly Starlette's
JSONResponse (compact, UTF-8), in the older handlers plain json.dumps (", " and
": ", \\uXXXX). demo/new is its rewrite in Go; the comments there and here that
start with DIVERGES name what the rewrite changed.

    python demo/legacy/app.py --data shop.json --listen 127.0.0.1:0
"""

import argparse
import gzip
import json
import socket
from datetime import datetime, timezone

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

VERSION = "shop-legacy/7.3"

PRODUCTS = {}
CUSTOMERS = {}
ORDERS = {}
PLACED = []


def load(path):
    with open(path, encoding="utf-8") as file:
        shop = json.load(file)
    PRODUCTS.update((p["id"], p) for p in shop["products"])
    CUSTOMERS.update((c["id"], c) for c in shop["customers"])
    ORDERS.update((o["id"], o) for o in shop["orders"])


def found(table, request, what):
    number = request.path_params["id"]
    if number not in table:
        raise HTTPException(404, f"{what} {number} not found")
    return table[number]


def number_of(request, name, default):
    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise HTTPException(400, f"{name} is not a number") from None


async def list_products(request: Request):
    # DIVERGES null.empty_array: a category without products is "items":[] here.
    # DIVERGES number.integral_float: 12.0 stays 12.0 here.
    category = request.query_params.get("category")
    page = number_of(request, "page", 1)
    rows = [p for p in PRODUCTS.values() if category in (None, p["category"])]
    items = [
        {"id": p["id"], "name": p["name"], "price": p["price"], "tags": p["tags"]}
        for p in rows[(page - 1) * 10 : page * 10]
    ]
    return JSONResponse({"page": page, "total": len(rows), "items": items})


async def get_product(request: Request):
    p = found(PRODUCTS, request, "product")
    return JSONResponse({
        "id": p["id"],
        "sku": p["sku"],
        "name": p["name"],
        "category": p["category"],
        "price": p["price"],
        "weight_kg": p["weight_kg"],
        "rating": p["rating"],
        "tags": p["tags"],
        "in_stock": p["stock"] > 0,
        "description": p["description"],
    })


async def get_price(request: Request):
    p = found(PRODUCTS, request, "product")
    final = round(p["price"] * (100 - p["discount"]) / 100, 2)
    return JSONResponse({"id": p["id"], "price": p["price"], "discount": p["discount"], "final": final})


async def get_stock(request: Request):
    wanted = [int(n) for n in request.query_params.get("ids", "").split(",") if n.isdigit()]
    return JSONResponse({"stock": [{"id": n, "available": PRODUCTS[n]["stock"]} for n in wanted if n in PRODUCTS]})


async def get_order(request: Request):
    o = found(ORDERS, request, "order")
    lines = [
        {"product_id": line["product_id"], "quantity": line["quantity"], "price": PRODUCTS[line["product_id"]]["price"]}
        for line in o["lines"]
    ]
    return JSONResponse({
        "id": o["id"],
        "customer_id": o["customer_id"],
        # DIVERGES time.zone, time.fraction: +00:00, and six digits or none.
        "placed_at": datetime.fromtimestamp(o["placed_at"], timezone.utc).isoformat(),
        # DIVERGES zero.omitted: an order without a note says "note":"" here.
        "note": o["note"],
        "lines": lines,
    })


async def create_order(request: Request):
    # A write: Matapalo never copies it. It does not touch the stock, which a nightly job books.
    order = await request.json()
    PLACED.append(order)
    number = 900_000 + len(PLACED)
    return JSONResponse({"id": number, "lines": len(order.get("lines", []))}, 201, {"Location": f"/api/orders/{number}"})


async def get_customer(request: Request):
    c = found(CUSTOMERS, request, "customer")
    # DIVERGES http.status: a closed account is still answered here, and not found there.
    if c["closed"]:
        return JSONResponse({"id": c["id"], "closed": True})
    # DIVERGES escape.non_ascii: json.dumps writes \u00fc for ü.
    # DIVERGES key_order: preferences keep the order in which they were stored.
    # DIVERGES number.precision_loss: account numbers are ints, whatever their size.
    body = {"id": c["id"], "name": c["name"], "country": c["country"], "preferences": c["preferences"]}
    return Response(json.dumps(body, separators=(",", ":")), media_type="application/json")


async def search(request: Request):
    query = (await request.json()).get("q", "") if request.method == "POST" else request.query_params.get("q", "")
    hits = []
    for p in PRODUCTS.values():
        count = p["name"].lower().count(query.lower()) if query else 0
        if count:
            hits.append({"id": p["id"], "name": p["name"], "score": count * p["boost"]})
    hits.sort(key=lambda hit: (-hit["score"], hit["id"]))
    # DIVERGES whitespace.separator: plain json.dumps, so ", " and ": ".
    # DIVERGES number.exponent_threshold: 1e+16 and 1e-05.
    return Response(json.dumps({"q": query, "hits": hits[:8]}), media_type="application/json")


async def report(request: Request):
    rows = []
    for o in ORDERS.values():
        total = sum(PRODUCTS[line["product_id"]]["price"] * line["quantity"] for line in o["lines"])
        rows.append({
            "order": o["id"],
            "customer": CUSTOMERS[o["customer_id"]]["name"],
            "country": CUSTOMERS[o["customer_id"]]["country"],
            "items": sum(line["quantity"] for line in o["lines"]),
            "note": o["note"],
            "products": [PRODUCTS[line["product_id"]]["name"] for line in o["lines"]],
            "total": round(total, 2),
        })
    body = JSONResponse({"rows": rows, "count": len(rows)}).body
    headers = {"Vary": "Accept-Encoding"}
    if "download" in request.query_params:
        # DIVERGES http.header: the file name is in quotes here.
        headers["Content-Disposition"] = 'attachment; filename="report.json"'
    if "gzip" in request.headers.get("accept-encoding", ""):
        # DIVERGES (wire only): zlib at level 9 does not write the bytes that Go's compress/gzip writes.
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


async def legacy_only(request: Request):
    # Nobody remembers this one: it is in no route of the proxy and has no counterpart in Go.
    return JSONResponse({"giftcards": len(CUSTOMERS), "format": "v1"})


async def health(request: Request):
    return JSONResponse({"status": "ok"})


async def failed(request: Request, error):
    return JSONResponse({"detail": error.detail}, error.status_code)


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
        Route("/api/legacy-only", legacy_only),
        Route("/health", health),
    ],
    exception_handlers={HTTPException: failed},
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()
    load(options.data)

    host, port = options.listen.rsplit(":", 1)
    listener = socket.create_server((host, int(port)), backlog=512)
    print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning", headers=[("X-App-Version", VERSION)])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
