#!/usr/bin/env bash
# Asks for something by name, through the edge function:
#   SUPABASE_URL=… TOKEN=<a user's or server's> supabase/examples/enqueue.sh hello
# With COGO_INTENTS_SECRET instead of TOKEN it signs the request, as a webhook does.
set -euo pipefail

text="${1:-hello}"
functions="${FUNCTIONS_URL:-${SUPABASE_URL:?set it to the address of your project}/functions/v1}"
key="$(date +%s)-$RANDOM$RANDOM"
body="{\"intent\": \"echo\", \"payload\": {\"text\": \"$text\"}, \"idempotency_key\": \"$key\"}"

if [[ -n "${COGO_INTENTS_SECRET:-}" ]]; then
    now="$(date +%s)"
    # The secret goes through the environment: anybody may read the arguments of a program.
    digest="$(printf '%s.%s' "$now" "$body" | COGO_INTENTS_SECRET="$COGO_INTENTS_SECRET" python3 -c '
import hashlib, hmac, os, sys
print(hmac.new(os.environ["COGO_INTENTS_SECRET"].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest())')"
    header="x-cogo-signature: t=$now,v1=$digest"
else
    header="authorization: Bearer ${TOKEN:?set it to a token of your project}"
fi

# Headers from a file descriptor, for the same reason. Safe to repeat: the key makes one message of it.
curl --silent --show-error --fail-with-body --retry 3 --max-time 30 \
    --header @<(printf '%s\n' "$header" "content-type: application/json") \
    --data "$body" "$functions/intents"
echo
