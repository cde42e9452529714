# A cluster to practise on: source this in bash from the repository. It makes everything in a new temporary directory and goes there.
#
#   start 1|2|…|coordinator    starts a service           stop 1|2|…|coordinator    kills it
#   connected N                waits until N nodes are    pay LAMPORTS              has a payment signed
#   finish                     stops everything

practice=$(mktemp -d)
cd "$practice" || return 1
export QUORATE_CLUSTER="$practice/custody/cluster.toml"

_service() { case $1 in coordinator) echo coordinator ;; *) echo "node-$1" ;; esac; }

start() {
  local at role
  at=$(_service "$1") role=${at%%-*}
  quorate "$role" run --config "custody/$at/$role.toml" >/dev/null 2>>"custody/$at/log" </dev/null &
  echo $! >"custody/$at/pid"
}

stop() {
  local at pid
  at=$(_service "$1") pid=$(cat "custody/$(_service "$1")/pid")
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  rm -f "custody/$at/pid"
}

finish() {
  local file
  for file in custody/*/pid; do
    if [ -e "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; rm -f "$file"; fi
  done
}

connected() {
  local try
  for try in $(seq 300); do
    if [ "$(quorate cluster status 2>/dev/null | grep -c '^node .*connected')" = "$1" ]; then return 0; fi
    sleep 0.1
  done
  echo "not $1 nodes are connected" >&2
  return 1
}

pay() {
  quorate request submit --wallet hot --to H5hM4fqRjygvCYXnp6dgFLgZ6o4uJ8Q9z7dAsTfapHmF --lamports "$1" \
    --blockhash LbUiWL3xVV8hTFYBVdbTNrpDo41NKS6o3LHHuDzjfcY --idempotency-key "pay-$1" --initiator backend \
    --initiator-key custody/client/initiator.key --wait 60
}

_practice() {
  quorate cluster init --dir custody --nodes 3 --threshold 2 --listen "127.0.0.1:$((20000 + RANDOM % 20000))" || return 1
  local service key
  for service in coordinator 1 2 3; do start "$service"; done
  connected 3 || return 1
  quorate key create hot || return 1
  key=$(quorate key list | awk '$1 == "hot" { print $NF }')
  cat >>custody/policy.toml <<END
[[wallet]]
id = "hot"
key_id = "$key"
chain = "solana:localnet"
kinds = ["transfer"]
max_fee = "1000000"

[[address]]
label = "payee"
chain = "solana:localnet"
to = "H5hM4fqRjygvCYXnp6dgFLgZ6o4uJ8Q9z7dAsTfapHmF"
assets = ["native"]
added = "2026-01-01T00:00:00Z"
usable_after = "2026-01-01T00:00:00Z"

[[rule]]
id = "payouts"
effect = "allow"
match = { wallet = "hot", kind = ["transfer"], to = "allowlist", initiator = ["backend"] }
limits = [{ scope = "wallet", window = "20s", asset = "native", max = "1000000000" }]
END
  local person
  for person in alice bob; do
    quorate policy sign custody/policy.toml --person $person --credential key --key custody/people/$person.key \
      --out $person.statement || return 1
  done
  quorate policy activate custody/policy.toml --statement alice.statement --statement bob.statement || return 1
  pay 1
}

_practice
