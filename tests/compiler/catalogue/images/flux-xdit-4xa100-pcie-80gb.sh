# flux-xdit on 4xa100-pcie-80gb
#   flux-xdit  xdit 0.7.0 (process), GPUs 0,1,2,3

# flux-xdit
#   GPUs: all there are
#   layout: ulysses 2 x ring 2, as the spec says
: "${HF_TOKEN:?is a secret of this job}"; export HF_TOKEN
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1,2,3
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
torchrun \
    --standalone \
    --nproc-per-node 4 \
    -m xfuser.runner \
    --model FLUX.1-dev \
    --ulysses_degree 2 \
    --ring_degree 2 \
    --prompt 'a lighthouse at dusk' \
    --num_inference_steps 28 \
    --output_directory .
