# llama-lora on 2xrtx-4090
#   llama-lora  llamafactory 0.9.6 (process), GPUs 0,1

# llama-lora
#   GPUs: all there are
#   layout: data 2, from 2 GPUs
mkdir -p "$PWD"/.mgpu/llama-lora
cat > "$PWD"/.mgpu/llama-lora/llamafactory.yaml <<'EOF'
stage: sft
do_train: true
model_name_or_path: meta-llama/Llama-3.1-8B-Instruct
template: llama3
finetuning_type: lora
lora_rank: 16
lora_target: all
dataset_dir: data
dataset: my_data
cutoff_len: 2048
output_dir: output
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 0.0001
num_train_epochs: 3
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
logging_steps: 10
save_steps: 500
EOF
: "${HF_TOKEN:?is a secret of this job}"; export HF_TOKEN
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export FORCE_TORCHRUN=1
export MASTER_ADDR=127.0.0.1
export MASTER_PORT=28806
export NNODES=1
export NODE_RANK=0
export NPROC_PER_NODE=2
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
llamafactory-cli train "$PWD"/.mgpu/llama-lora/llamafactory.yaml
