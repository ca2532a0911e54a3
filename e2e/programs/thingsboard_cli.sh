# Walks through a registry with ThingsBoard's own command line, unmodified: thingsboard-cli.
# usage: sh thingsboard_cli.sh TB URL NAME PASSWORD
set -eu
tb=$1 url=$2
"$tb" config set --url "$url" --username "$3" --password "$4" >/dev/null
"$tb" system info | grep -q CE
"$tb" device save --name cli-1 --type default --access-token cli-1-token --remote >/dev/null
id=$("$tb" device get cli-1 --format json | sed -n 's/.*"id": *"\([0-9a-f-]\{36\}\)".*/\1/p' | head -n 1)
[ ${#id} -eq 36 ]
"$tb" device list | grep -q cli-1
"$tb" device get "$id" | grep -q cli-1
"$tb" device credentials "$id" | grep -q cli-1-token
"$tb" attributes save DEVICE "$id" --json '{"site":"roof"}' --remote >/dev/null
"$tb" attributes list DEVICE "$id" | grep -q site
"$tb" attributes get DEVICE "$id" --keys site | grep -q roof
"$tb" attributes delete DEVICE "$id" --keys site --yes >/dev/null
"$tb" device-profile save --remote --json '{"name":"cli pumps","type":"DEFAULT","transportType":"DEFAULT","profileData":{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}}' >/dev/null
"$tb" device-profile list | grep -q 'cli pumps'
"$tb" device delete "$id" --yes >/dev/null
! "$tb" device get "$id" >/dev/null 2>&1
echo walked through
