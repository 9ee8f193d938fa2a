# comfyui on 2xrtx-4090
#   comfyui  comfyui 0.38.1 (process), GPUs 0,1, 127.0.0.1:8188

# comfyui
#   GPUs: all there are
mkdir -p "$PWD"/.mgpu/comfyui
cat > "$PWD"/.mgpu/comfyui/extra_model_paths.yaml <<'EOF'
shared:
  base_path: /srv/models
  checkpoints: checkpoints
  vae: vae
EOF
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export PYTHONUNBUFFERED=1
cd "$PWD"/ComfyUI
python main.py \
    --listen 127.0.0.1 \
    --port 8188 \
    --disable-auto-launch \
    --extra-model-paths-config "$OLDPWD"/.mgpu/comfyui/extra_model_paths.yaml
