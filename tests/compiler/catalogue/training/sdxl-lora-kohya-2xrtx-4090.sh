# sdxl-lora on 2xrtx-4090
#   sdxl-lora  kohya 0.10.1 (process), GPUs 0,1

# sdxl-lora
#   GPUs: all there are
#   layout: data 2, from 2 GPUs
mkdir -p "$PWD"/.mgpu/sdxl-lora
cat > "$PWD"/.mgpu/sdxl-lora/accelerate.yaml <<'EOF'
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
mixed_precision: bf16
num_machines: 1
num_processes: 2
EOF
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
accelerate launch \
    --config_file "$PWD"/.mgpu/sdxl-lora/accelerate.yaml \
    --multi_gpu \
    --num_processes 2 \
    --num_machines 1 \
    --mixed_precision bf16 \
    --main_process_port 28882 \
    sd-scripts/sdxl_train_network.py \
    --pretrained_model_name_or_path stabilityai/stable-diffusion-xl-base-1.0 \
    --dataset_config dataset.toml \
    --output_dir output \
    --output_name lora \
    --network_module networks.lora \
    --network_dim 32 \
    --network_alpha 16 \
    --learning_rate 1.0e-4 \
    --optimizer_type AdamW8bit \
    --max_train_epochs 10 \
    --mixed_precision bf16 \
    --save_model_as safetensors \
    --gradient_checkpointing \
    --cache_latents \
    --sdpa
