#!/bin/sh
# vllm serve [MODEL] [--model MODEL] [--port PORT] [--tensor-parallel-size N] ...: answers once FAKE_LOAD seconds passed.
model=facebook/opt-125m port=8000 size=1 load=${FAKE_LOAD:-0.3}
[ "$1" = serve ] && shift
case $1 in -*|'') ;; *) model=$1; shift ;; esac
while [ $# -gt 0 ]; do
  case $1 in
    --*=*) word=$1; shift; set -- "${word%%=*}" "${word#*=}" "$@"; continue ;;
    --model) model=$2; shift ;;
    --port) port=$2; shift ;;
    --tensor-parallel-size|-tp) size=$2; shift ;;
  esac
  shift
done

trap 'kill $! 2>/dev/null; echo "INFO:     Shutting down"; exit 0' TERM INT
say() { echo "INFO $(date '+%m-%d %H:%M:%S') $*"; }

seen=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ')
if [ "$seen" -lt "$size" ]; then
  echo "ERROR: tensor parallel size ($size) cannot be larger than the number of available GPUs ($seen)" >&2
  exit 1
fi

say "[api_server.py] vLLM API server version 0.0.0+fake"
say "[api_server.py] args: model=$model port=$port tensor_parallel_size=$size"
for part in 1 2 3; do
  say "[default_loader.py] Loading safetensors checkpoint shards: $part/3"
  sleep "$(awk "BEGIN { print $load / 3 }")" &
  wait $!
done

printf '%s' "$model" > /tmp/model
say "[launcher.py] Starting vLLM API server on http://0.0.0.0:$port"
nc -ll -p "$port" -e /usr/bin/vllm-answer &
echo "INFO:     Application startup complete."
wait $!
