"""Reads the change feed as a program of somebody's own would: the standard library alone, and it goes away
abruptly after so many events and comes back with the last id."""

import http.client
import json
import sys

address, token_file, wanted, leave_after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
token = open(token_file).read().strip()
last, names, visits = "", [], 0
while len(names) < wanted:
    visits += 1
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"Authorization": "Bearer " + token, "Accept": "text/event-stream"}
    path = "/api/muster/v1/events" + ("" if last else "?after=start")
    if last:
        headers["Last-Event-ID"] = last
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream", answer.status
    heard, place, kind = 0, "", ""
    while heard < leave_after and len(names) < wanted:
        line = answer.readline()
        if not line:
            break
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "id":
            place = value
        elif field == "event":
            kind = value
        elif field == "data":
            last, heard = place, heard + 1
            if kind == "provision":
                names.append(json.loads(value)["detail"]["name"])
    connection.close()
print(visits)
print("\n".join(names))
