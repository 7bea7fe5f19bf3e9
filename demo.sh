#!/usr/bin/env bash
# The whole way on synthetic data: pictures, face server, extraction, cleaning, training, export, test,
# cross-validation, serving, the study. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")"
data=data/sample
settings=(--data_dir "$data" -o trainer.save_dir=saved/demo)

step() { printf '\n== %s\n' "$*"; }

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

scripts() { python -c "from utils.scripts import *; $1"; }

# The folder of the newest run below saved/demo, which is the one just made.
newest_run() { ls -td saved/demo/models/ResMLP/*/ | head -n 1; }

step "1. Pictures: synthetic stand-ins for Adience, IMDB and WIKI"
scripts "make_sample_data('$data')"

step "2. Extract embeddings over HTTP, from a stand-in for the face server"
port=$(free_port)
python -m sample.stand_in_server --port "$port" &
trap 'kill $(jobs -p)' EXIT
scripts "extract_Adience_arcface('aligned', docker_port=$port, resize=640, data_dir='$data')"
for name in imdb wiki; do
    scripts "extract_imdb_wiki_arcface('$name', docker_port=$port, resize=640, data_dir='$data')"
done

step "3. Clean them: data file, counts, and a picture of the ages for each"
scripts "get_Adience_clean('aligned', resize=640, det_score=0.9, data_dir='$data')"
for name in imdb wiki; do
    scripts "get_imdb_wiki_clean('$name', resize=640, det_score=0.9, data_dir='$data')"
done

number=3
for task in gender age101; do
    name=${task%101}
    step "$((++number)). Train $name on the sample's IMDB and WIKI"
    python train.py --task "$task" "${settings[@]}" -o trainer.verbosity=1
    scripts "export_model('$(newest_run)model_best.pth', 'models/sample/$name.pth')"
    step "$((++number)). Test $name on the sample's Adience, whose people it has not seen"
    python test.py -r "models/sample/$name.pth" "${settings[@]}" -o data_loader.args.dataset=Adience
done

for task in gender age8; do
    step "$((++number)). Cross-validate $task on the sample's Adience: 2 seeds x 5 folds"
    python cross-val.py --task "$task" "${settings[@]}" -o seeds=[0,1]
done

step "$((++number)). Serve both models, and look at a picture through the server"
serving=$(free_port)
AGE_MODEL=models/sample/age.pth GENDER_MODEL=models/sample/gender.pth python app.py --port "$serving" &
health="from http.client import HTTPConnection as C; C('127.0.0.1', $serving).request('GET', '/health')"
until python -c "$health" 2>/dev/null; do kill -0 $! || exit 1; sleep 0.2; done
picture=$(find "$data/Adience/aligned" -name '*.jpg' -print -quit)
python client.py --image-path "$picture" --out-dir saved/demo \
    --url-face "http://127.0.0.1:$port/" --url-age-gender "http://127.0.0.1:$serving/"

step "$((++number)). The study of all tasks and protocols, made small, with its report"
python study.py "${settings[@]}" -o seeds=[0] -o num_cross_val=2 -o trainer.epochs=3

printf '\nThese scores are of synthetic data: they show that the programs work, nothing about faces.\n'
printf 'Models: models/sample/. Results: saved/demo/*.json. Curves: tensorboard --logdir saved/demo/log\n'
