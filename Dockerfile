# The course in JupyterLab, data and weights inside, for Codespaces and for hospital machines without internet.
#     docker build -t xferlab .                                             CPU
#     docker build -t xferlab --build-arg TORCH="torch torchvision" .       CUDA
#     docker run --rm -p 127.0.0.1:8888:8888 xferlab
FROM python:3.12-slim
ARG TORCH="--requirement binder/requirements.txt"
WORKDIR /course
COPY . .
RUN pip install --no-cache-dir $TORCH \
 && pip install --no-cache-dir --editable '.[labs,nlp]' \
 && python -c 'from xferlab.course import bundle; bundle.bake()' \
 && xferlab doctor
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--allow-root", "labs/00_start_here.ipynb"]
