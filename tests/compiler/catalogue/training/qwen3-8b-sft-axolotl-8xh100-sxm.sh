# qwen3-8b-sft on 8xh100-sxm
#   qwen3-8b-sft  axolotl 0.18.0 (process), GPUs 0,1,2,3,4,5,6,7

# qwen3-8b-sft
#   GPUs: all there are
#   layout: data 8, from 8 GPUs
mkdir -p "$PWD"/.mgpu/qwen3-8b-sft
cat > "$PWD"/.mgpu/qwen3-8b-sft/axolotl.yaml <<'EOF'
base_model: Qwen/Qwen3-8B
datasets:
  - path: mlabonne/FineTome-100k
    type: chat_template
    split: "train[:20%]"
    field_messages: conversations
    message_property_mappings:
      role: from
      content: value
output_dir: output
sequence_len: 4096
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 4
num_epochs: 1
learning_rate: 1.0e-05
optimizer: adamw_torch_fused
lr_scheduler: cosine
warmup_ratio: 0.03
bf16: true
attn_implementation: flash_attention_2
gradient_checkpointing: true
fsdp_version: 2
fsdp_config:
  auto_wrap_policy: TRANSFORMER_BASED_WRAP
  transformer_layer_cls_to_wrap: Qwen3DecoderLayer
  state_dict_type: FULL_STATE_DICT
  reshard_after_forward: true
EOF
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
axolotl train "$PWD"/.mgpu/qwen3-8b-sft/axolotl.yaml \
    --launcher torchrun \
    -- \
    --standalone \
    --nproc-per-node 8
