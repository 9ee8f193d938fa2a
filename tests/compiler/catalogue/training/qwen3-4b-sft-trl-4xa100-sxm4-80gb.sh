# qwen3-4b-sft on 4xa100-sxm4-80gb
#   qwen3-4b-sft  trl 1.16.0 (process), GPUs 0,1,2,3

# qwen3-4b-sft
#   GPUs: all there are
#   layout: data 4, from 4 GPUs
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1,2,3
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
trl sft \
    --model_name_or_path Qwen/Qwen3-4B \
    --dataset_name trl-lib/Capybara \
    --output_dir output \
    --per_device_train_batch_size 2 \
    --gradient_accumulation_steps 8 \
    --learning_rate 1.0e-5 \
    --num_train_epochs 1 \
    --max_length 2048 \
    --bf16 true \
    --accelerate_config zero3 \
    --num_processes 4 \
    --num_machines 1 \
    --main_process_port 23141
