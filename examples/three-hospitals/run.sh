#!/usr/bin/env bash
# Plays a coordinating centre and three hospitals on this machine, each in a folder and processes of its own. Give an empty folder to work in.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=${1:?"Name an empty folder to work in."}
port=${2:-4222}
command -v wardround >/dev/null || PATH=$here/../../.venv/bin:$PATH   # where ./demo has put it
mkdir -p "$work"
cd "$work"

# The coordinating centre: a folder, one invite a hospital, and the study.
wardround coordinator init centre --study "$here/study.toml" --address 127.0.0.1 --port "$port"
for hospital in north south east; do
    wardround coordinator invite centre "$hospital" --out "$hospital.invite"
    mkdir "$hospital"
    cp "$here/$hospital/site.toml" "$here/$hospital/policy.toml" "$hospital/"
done
wardround coordinator serve centre &
serving=$!
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
until wardround coordinator status centre --json | grep -q '"serving": true'; do
    kill -0 "$serving" 2>/dev/null   # it has said why it could not begin
    sleep 0.2
done

# Each hospital, on its own machine in real life: three commands.
for hospital in north south east; do
    (
        cd "$hospital"
        wardround site join "../$hospital.invite"
        wardround site approve --yes --as "data-protection officer"
        wardround site run
    ) >"$hospital.txt" 2>&1 &
done
wait "$serving"
wait
trap - EXIT
wardround verify centre || [ $? -eq 2 ]   # 2: all passes but the witnesses, which come with a later release
