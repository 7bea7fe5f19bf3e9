#!/usr/bin/env bash
# Every step, from pictures to a served model and a report, on synthetic data. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")"
data=data/sample
out=saved/demo
log=$out/demo.log
settings=(--data_dir "$data" -o trainer.save_dir="$out")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}  # faster for networks as small as these
mkdir -p "$out"
: > "$log"

step() { printf '\n== %s\n' "$*"; }

# Run a command whose output goes to the log; show the end of it if the command fails.
quietly() { "$@" >> "$log" 2>&1 || { tail -n 20 "$log"; printf 'The whole output: %s\n' "$log"; exit 1; }; }

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

scripts() { python -c "from utils.scripts import *; $1"; }

# The folder of the newest run below saved/demo, which is the one just made.
newest_run() { ls -td "$out"/models/ResMLP/*/ | head -n 1; }

# Leave out all but every fifth epoch.
some_epochs() { grep -Ev '^epoch [0-9]*[1-46-9]/'; }

printf 'This shows every step on SYNTHETIC data, made by a program. No picture shows a person.\n'
printf 'It takes about two minutes on two cores. What is left out here is in %s.\n' "$log"

step "1. Make pictures: synthetic stand-ins for Adience, IMDB and WIKI"
scripts "make_sample_data('$data')"

step "2. Extract embeddings, from a stand-in for the face server (some files are damaged on purpose)"
port=$(free_port)
python -m sample.stand_in_server --port "$port" >> "$log" &
trap 'kill $(jobs -p) 2>> "$log"' EXIT
scripts "extract_Adience_arcface('aligned', docker_port=$port, resize=640, data_dir='$data')"
for name in imdb wiki; do
    quietly scripts "extract_imdb_wiki_arcface('$name', docker_port=$port, resize=640, data_dir='$data')"
done
printf 'and those of IMDB and WIKI in the same way\n'

step "3. Clean: one data file for each data set, the counts, and a picture of the ages"
scripts "get_Adience_clean('aligned', resize=640, det_score=0.9, data_dir='$data')"
for name in imdb wiki; do
    quietly scripts "get_imdb_wiki_clean('$name', resize=640, det_score=0.9, data_dir='$data')"
done
printf 'and IMDB and WIKI in the same way\n'

number=3
for task in gender age101; do
    name=${task%101}
    metric=accuracy
    unit=
    if [ "$task" = age101 ]; then metric=mae unit="; mae is the mean error in years"; fi
    step "$((++number)). Train $name on the sample's IMDB and WIKI$unit"
    python train.py --task "$task" "${settings[@]}" -o trainer.verbosity=1 -o metrics="[\"$metric\"]" | some_epochs
    quietly scripts "export_model('$(newest_run)model_best.pth', 'models/sample/$name.pth')"
    step "$((++number)). Test $name on the sample's Adience: other people"
    python test.py -r "models/sample/$name.pth" "${settings[@]}" -o data_loader.args.dataset=Adience
done

step "$((++number)). Cross-validate gender on the sample's Adience, five folds"
python cross-val.py --task gender "${settings[@]}" -o seeds=[0]

step "$((++number)). Serve both models, and look at a picture through the server"
serving=$(free_port)
AGE_MODEL=models/sample/age.pth GENDER_MODEL=models/sample/gender.pth \
    python app.py --port "$serving" >> "$log" 2>&1 &
server=$!
health="from http.client import HTTPConnection as C; C('127.0.0.1', $serving).request('GET', '/health')"
until python -c "$health" 2> /dev/null; do kill -0 $server || { tail -n 20 "$log"; exit 1; }; sleep 0.5; done
picture=$(find "$data/Adience/aligned" -name '*.jpg' -print -quit)
python client.py --image-path "$picture" --out-dir "$out" \
    --url-face "http://127.0.0.1:$port/" --url-age-gender "http://127.0.0.1:$serving/"
kill $server && wait $server || true

step "$((++number)). The study: both tasks by four protocols, with baselines and a report (the longest step)"
# Protocol d sees a few hundred faces only, so that an epoch has few batches.
quietly python study.py --only gender --only age8 "${settings[@]}" -o seeds=[0] -o num_cross_val=2 \
    -o protocols.d.trainer.epochs=40
report=$(ls -td "$out"/study/*/ | head -n 1)report.html
sed -n '/^result /,/^Written/p' "$log" | grep -Ev 'not run$|^Written'
printf '"published" is what the original project reports on REAL faces; it is no match for this data.\n'

cat <<END

All of this was SYNTHETIC: the scores show that the programs work, and nothing about real faces.

Look at
  $report
  $data/Adience/ages-aligned.png
  $out/$(basename "${picture%.jpg}").ANNOTATED.jpg

Next, with real faces. Put Adience into data/Adience/ (README.md, "Get the data"), start a face
server on port 10002 (face_server/README.md), activate the environment (source .venv/bin/activate), and run
  python -c "from utils.scripts import *; extract_Adience_arcface('aligned', docker_port=10002, resize=640)"
  python -c "from utils.scripts import *; get_Adience_clean('aligned', resize=640, det_score=0.7)"
  python train.py --task gender -o data_loader.args.dataset=Adience
END
