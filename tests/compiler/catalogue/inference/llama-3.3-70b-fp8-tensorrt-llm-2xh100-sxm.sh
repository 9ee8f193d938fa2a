# llama-70b on 2xh100-sxm
#   llama-70b  tensorrt-llm 1.2.1 (docker), GPUs 0,1, 127.0.0.1:8000

# llama-70b
#   GPUs: all there are
#   layout: tensor 2, the fastest of 2 that fit
#   runtime: docker, which can give containers GPUs here
mkdir -p "$PWD"/.mgpu/llama-70b
cat > "$PWD"/.mgpu/llama-70b/config.yaml <<'EOF'
kv_cache_config:
  dtype: fp8
  free_gpu_memory_fraction: 0.9
EOF
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --shm-size 16g \
    --ulimit memlock=-1 \
    --ulimit stack=67108864 \
    --publish 127.0.0.1:8000:8000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    nvcr.io/nvidia/tensorrt-llm/release:1.2.1 \
    trtllm-serve serve nvidia/Llama-3.3-70B-Instruct-FP8 \
    --host 0.0.0.0 \
    --port 8000 \
    --tp_size 2 \
    --max_seq_len 16384 \
    --config /workspace/.mgpu/llama-70b/config.yaml
