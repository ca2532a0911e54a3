"""What schemathesis has to know of us beside the document."""

import atexit
import json
import os

import schemathesis

called = set()
answered = set()


@schemathesis.deserializer("application/x-ndjson")
def last_line(context, response):
    """The schema is that of a line."""
    return json.loads(response.content.splitlines()[-1])


def name_of(case):
    return case.operation.definition.raw["operationId"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """The token that all calls use has to last: it is the first one, and it is not revoked."""
    if name_of(case) == "revokeOperatorToken":
        try:
            own = int(case.path_parameters["id"]) == 1
        except (KeyError, TypeError, ValueError):
            own = False
        if own:
            case.path_parameters["id"] = "999999"


@schemathesis.hook
def after_call(context, case, response):
    called.add(name_of(case))
    if 200 <= response.status_code < 300:
        answered.add(name_of(case))


@atexit.register
def tell():
    with open(os.environ["ANSWERED_FILE"], "w", encoding="utf-8") as file:
        json.dump({"called": sorted(called), "never": sorted(called - answered)}, file)
