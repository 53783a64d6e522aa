"""Idempotency keys are used once: two generated requests mostly share the shortest key there is,
and the second would rightly be refused with 422."""

from itertools import count

import schemathesis

numbers = count()


def unique(key):
    # Only a legal key: what is wrong on purpose stays wrong.
    legal = isinstance(key, str) and 1 <= len(key.encode()) <= 240
    return f"{key}-{next(numbers)}" if legal else key


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = unique(headers["Idempotency-Key"])
    publications = case.body.get("publications") if isinstance(case.body, dict) else None
    for publication in publications if isinstance(publications, list) else []:
        if isinstance(publication, dict) and "key" in publication:
            publication["key"] = unique(publication["key"])
