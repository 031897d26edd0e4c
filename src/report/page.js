// Draws the charts that the page describes as JSON.
'use strict';
(() => {
  const check = location.hash === '#check';
  let errors = 0;
  window.addEventListener('error', () => { document.body.dataset.errors = ++errors; });
  const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#8c6d31',
                   '#7b4173', '#637939'];
  const colour = (i) => colours[i % colours.length];
  const drawn = {id: 'drawn', afterDraw: (chart) => { chart.canvas.dataset.drawn = 'yes'; }};
  const common = (options) => Object.assign(
      {animation: false, responsive: true, maintainAspectRatio: false, normalized: true}, options);
  const axis = (described) => ({
    type: described.log ? 'logarithmic' : 'linear',
    title: {display: true, text: described.title},
  });
  const points = (series, key, log) => series.x.map((x, i) => {
    const y = series[key][i];
    const shown = (value, isLog) => (value === null || (isLog && value <= 0) ? NaN : value);
    return {x: shown(x, log.x), y: shown(y, log.y)};
  });

  function lines(chart) {
    const log = {x: chart.x.log, y: chart.y.log};
    const datasets = [];
    chart.series.forEach((series, i) => {
      const quiet = {borderWidth: 0, pointRadius: 0, band: true};
      if (series.low.length > 0) {
        datasets.push({...quiet, label: '', data: points(series, 'low', log), fill: false});
        datasets.push({...quiet, label: '', data: points(series, 'high', log), fill: '-1',
                       backgroundColor: colour(i) + '33'});
      }
      datasets.push({label: series.name, data: points(series, 'y', log), borderColor: colour(i),
                     backgroundColor: colour(i), borderWidth: 2, fill: false,
                     pointRadius: series.x.length > 40 ? 0 : 2});
    });
    return {
      type: 'line',
      data: {datasets},
      options: common({
        parsing: false,
        scales: {x: axis(chart.x), y: axis(chart.y)},
        interaction: {mode: 'nearest', intersect: false},
        plugins: {
          legend: {labels: {filter: (item, data) => !data.datasets[item.datasetIndex].band}},
          tooltip: {filter: (item) => !item.dataset.band},
        },
      }),
    };
  }

  // Cells are bars of unit height, stacked: a dataset is a row, its bars are coloured one by one.
  function heatMap(chart) {
    let most = 0;
    for (const row of chart.cells) for (const cell of row) most = Math.max(most, cell === null ? 0 : cell);
    const shade = (cell) => `rgba(0, 60, 130, ${most > 0 && cell > 0 ? Math.sqrt(cell / most) : 0})`;
    const columns = Math.max(1, ...chart.cells.map((row) => row.length));
    const rows = chart.rows.length;
    const datasets = chart.cells.map((row, i) => ({
      label: chart.rows[i],
      data: row.map(() => 1),
      backgroundColor: row.map(shade),
      barPercentage: 1,
      categoryPercentage: 1,
      borderWidth: 0,
      cells: row,
    }));
    return {
      type: 'bar',
      data: {labels: Array.from({length: columns}, (_, i) => String(i)), datasets},
      options: common({
        scales: {
          x: {stacked: true, grid: {display: false}, title: {display: true, text: chart.x}},
          y: {stacked: true, reverse: true, min: 0, max: rows, grid: {display: false},
              title: {display: true, text: chart.y},
              afterBuildTicks: (scale) => {
                const step = Math.ceil(rows / 16);
                scale.ticks = [];
                for (let i = 0; i < rows; i += step) scale.ticks.push({value: i + 0.5});
              },
              ticks: {callback: (value) => chart.rows[Math.floor(value)]}},
        },
        plugins: {
          legend: {display: false},
          tooltip: {callbacks: {label: (item) => `${item.dataset.label}: ${item.dataset.cells[item.dataIndex]}`}},
        },
      }),
    };
  }

  const charts = JSON.parse(document.getElementById('charts').textContent);
  charts.forEach((chart, i) => {
    const canvas = document.getElementById('chart-' + i);
    const config = chart.kind === 'lines' ? lines(chart) : heatMap(chart);
    new Chart(canvas, Object.assign(config, {plugins: [drawn]}));
  });

  if (check) window.addEventListener('load', () => requestAnimationFrame(() => {
    for (const canvas of document.querySelectorAll('canvas')) {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let painted = 0;
      for (let i = 3; i < pixels.length; i += 4) painted += pixels[i] > 0;
      canvas.dataset.painted = painted;
    }
    document.body.dataset.errors = errors;
    document.body.dataset.checked = 'yes';
  }));
})();
