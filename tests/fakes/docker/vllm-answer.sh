#!/bin/sh
# One HTTP request on stdin in, its answer out.
read -r _ path _
while read -r header && [ "${header%?}" ]; do :; done
status='200 OK' body=
case ${path%%\?*} in
  /health) ;;
  /v1/models) body='{"object":"list","data":[{"id":"'$(cat /tmp/model)'","object":"model","owned_by":"vllm"}]}' ;;
  *) status='404 Not Found' body='{"detail":"Not Found"}' ;;
esac
printf 'HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
  "$status" "${#body}" "$body"
