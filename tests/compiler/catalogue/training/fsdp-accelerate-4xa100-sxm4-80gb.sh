# fsdp on 4xa100-sxm4-80gb
#   fsdp  accelerate 1.15.0 (process), GPUs 0,1,2,3

# fsdp
#   GPUs: all there are
#   layout: data 4, from 4 GPUs
mkdir -p "$PWD"/.mgpu/fsdp
cat > "$PWD"/.mgpu/fsdp/accelerate.yaml <<'EOF'
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: bf16
num_machines: 1
num_processes: 4
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
EOF
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1,2,3
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
accelerate launch \
    --config_file "$PWD"/.mgpu/fsdp/accelerate.yaml \
    --use_fsdp \
    --num_processes 4 \
    --num_machines 1 \
    --mixed_precision bf16 \
    --main_process_port 22680 \
    train.py \
    --epochs 3
