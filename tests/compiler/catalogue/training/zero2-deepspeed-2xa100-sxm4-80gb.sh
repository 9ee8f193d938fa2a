# zero2 on 2xa100-sxm4-80gb
#   zero2  deepspeed 0.19.8 (process), GPUs 0,1

# zero2
#   GPUs: all there are
#   layout: data 2, from 2 GPUs
mkdir -p "$PWD"/.mgpu/zero2
cat > "$PWD"/.mgpu/zero2/deepspeed.json <<'EOF'
{
  "train_batch_size": 64,
  "train_micro_batch_size_per_gpu": 4,
  "gradient_accumulation_steps": 8,
  "gradient_clipping": 1.0,
  "bf16": {
    "enabled": true
  },
  "optimizer": {
    "type": "AdamW",
    "params": {
      "lr": 2e-05,
      "weight_decay": 0.01,
      "torch_adam": true
    }
  },
  "zero_optimization": {
    "stage": 2,
    "overlap_comm": true
  }
}
EOF
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
deepspeed \
    --hostfile /dev/null \
    --include localhost:0,1 \
    --master_port 20682 \
    --no_local_rank \
    train.py \
    --epochs 3 \
    --deepspeed_config "$PWD"/.mgpu/zero2/deepspeed.json
