# A small MCP server over stdin and stdout for the tests: its tools are in the file $TOOLS, read
# anew for each listing. It leads a process group in which a grandchild lives.
echo $$ >"$PIDFILE"
sleep 1000 >/dev/null 2>&1 &
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
    case "$line" in
    *'"initialize"'*)
        answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"test","version":"1"}}'
        ;;
    *'"tools/list"'*) answer "{\"tools\":$(cat "$TOOLS")}" ;;
    *'"tools/call"'*'"name":"say"'* | *'"name":"say"'*'"tools/call"'*)
        echo called >>"$CALLS"
        answer '{"content":[{"type":"text","text":"said"}]}'
        ;;
    *'"name":"fail"'*) answer '{"isError":true,"content":[{"type":"text","text":"no such thing"}]}' ;;
    *'"name":"die"'*)
        echo called >>"$CALLS"
        exit 1
        ;;
    *'"name":"hang"'*) ;;
    *'"name":"announce"'*)
        printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
        answer '{"content":[]}'
        ;;
    *'"name":"env"'*) answer "{\"content\":[{\"type\":\"text\",\"text\":\"$(env | cut -d= -f1 | tr '\n' ' ')\"}]}" ;;
    esac
done
