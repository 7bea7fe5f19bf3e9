#!/usr/bin/env bash
# The whole way on synthetic data: sample, train, export, test, cross-validate. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")"
data=data/sample
settings=(--data_dir "$data" -o trainer.save_dir=saved/demo)

step() { printf '\n== %s\n' "$*"; }

# The folder of the newest run below saved/demo, which is the one just made.
newest_run() { ls -td saved/demo/models/ResMLP/*/ | head -n 1; }

step "1. Sample data: synthetic stand-ins for Adience, IMDB and WIKI"
python -c "from utils.scripts import make_sample_data; make_sample_data('$data')"

for task in gender age101; do
    name=${task%101}
    step "2. Train $name on the sample's IMDB and WIKI"
    python train.py --task "$task" "${settings[@]}" -o trainer.verbosity=1
    python -c "from utils.scripts import export_model; export_model('$(newest_run)model_best.pth', 'models/sample/$name.pth')"
    step "3. Test $name on the sample's Adience, whose people it has not seen"
    python test.py -r "models/sample/$name.pth" "${settings[@]}" -o data_loader.args.dataset=Adience --split all
done

for task in gender age8; do
    step "4. Cross-validate $task on the sample's Adience: 2 seeds x 5 folds"
    python cross-val.py --task "$task" "${settings[@]}" -o seeds=[0,1]
done

printf '\nThese scores are of synthetic data: they show that the programs work, nothing about faces.\n'
printf 'Models: models/sample/. Results: saved/demo/*.json. Curves: tensorboard --logdir saved/demo/log\n'
